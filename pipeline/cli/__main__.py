"""``python -m pipeline.cli`` is ``medbundle``."""

from pipeline.cli.main import main

raise SystemExit(main())
