"""``python -m pipeline.cli`` is ``medpipe``."""

from pipeline.cli.main import main

raise SystemExit(main())
