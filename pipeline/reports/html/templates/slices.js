// The slices of segmented cases; after page.js.
(() => {
  const short = (v, digits) => String(Number(v.toPrecision(digits))).replace("-", "−");
  if (!data.cases.length) return;
  const COLORS = { reference: [86, 180, 233], prediction: [240, 146, 0] }; // Okabe and Ito's, on grey
  const PLANES = [ // the axes that run to the right, down and into the screen; letters at left, right, top, bottom
    { name: "axial", across: 0, down: 1, through: 2, letters: "RLAP" },
    { name: "coronal", across: 0, down: 2, through: 1, letters: "RLSI" },
    { name: "sagittal", across: 1, down: 2, through: 0, letters: "APSI" },
  ];
  for (const plane of PLANES) {
    plane.figure = document.querySelector(`[data-plane="${plane.name}"]`);
    plane.canvas = plane.figure.querySelector("canvas");
    plane.slider = plane.figure.querySelector("input");
    plane.output = plane.figure.querySelector("output");
    plane.buffer = document.createElement("canvas");
  }
  const kept = new Map(); // inflated cases
  let now = null; // { facts, image, reference, prediction, at: [x, y, z] }
  let wanted = -1;

  const inflate = async (k) => {
    if (kept.has(k)) return kept.get(k);
    const facts = data.cases[k];
    const bytes = Uint8Array.from(atob(byId(`voxels-${k}`).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const all = new Uint8Array(await new Response(stream).arrayBuffer());
    const size = facts.shape[0] * facts.shape[1] * facts.shape[2];
    const parts = [];
    for (let start = 0; start < all.length; start += size) parts.push(all.subarray(start, start + size));
    const image = parts.length === 3 ? parts.shift() : null;
    if (image) for (let i = 1; i < size; i += 1) image[i] += image[i - 1]; // modulo 256
    const found = { facts, image, reference: parts[0], prediction: parts[1] };
    found.start = worstPlace(found);
    found.at = [...found.start];
    kept.set(k, found);
    return found;
  };

  // The axial slice with most voxels that differ, and in it the row and then the voxel in the middle of them.
  const worstPlace = ({ facts, reference, prediction }) => {
    const [nx, ny, nz] = facts.shape;
    const most = (wrong) => {
      const inSlice = new Array(nz).fill(0);
      for (let i = 0; i < reference.length; i += 1) if (wrong(i)) inSlice[Math.floor(i / (nx * ny))] += 1;
      const z = inSlice.indexOf(Math.max(...inSlice));
      if (!inSlice[z]) return null;
      const inRow = new Array(ny).fill(0);
      for (let i = 0; i < nx * ny; i += 1) if (wrong(z * nx * ny + i)) inRow[Math.floor(i / nx)] += 1;
      const y = inRow.indexOf(Math.max(...inRow));
      const there = [];
      for (let x = 0; x < nx; x += 1) if (wrong((z * ny + y) * nx + x)) there.push(x);
      return [there[there.length >> 1], y, z];
    };
    return most((i) => reference[i] !== prediction[i]) || most((i) => reference[i] !== 0) ||
      [nx >> 1, ny >> 1, nz >> 1];
  };

  const options = () => ({
    reference: byId("v-reference").checked,
    prediction: byId("v-prediction").checked,
    cross: byId("v-cross").checked,
    label: Number(byId("v-label").value),
    outline: Number(byId("v-outline").value) / 100,
    fill: Number(byId("v-fill").value) / 100,
    window: Number(byId("v-window").value),
    level: Number(byId("v-level").value),
  });

  // A function from a column and a row of a plane to the index of the voxel.
  const placer = (plane) => {
    const [nx, ny] = now.facts.shape;
    const steps = [1, nx, nx * ny];
    const base = now.at[plane.through] * steps[plane.through];
    return (x, y) => base + x * steps[plane.across] + y * steps[plane.down];
  };

  const paint = (plane, chosen) => {
    const width = now.facts.shape[plane.across];
    const height = now.facts.shape[plane.down];
    const place = placer(plane);
    Object.assign(plane.buffer, { width, height });
    const context = plane.buffer.getContext("2d");
    const pixels = context.createImageData(width, height);
    const grey = new Uint8ClampedArray(256);
    for (let v = 0; v < 256; v += 1) grey[v] = 255 * ((v - chosen.level) / chosen.window + 0.5);
    const layers = ["reference", "prediction"].filter((which) => chosen[which] && chosen.fill);
    for (let y = 0, out = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1, out += 4) {
        const i = place(x, y);
        const g = now.image ? grey[now.image[i]] : 0;
        for (let c = 0; c < 3; c += 1) {
          let value = g;
          for (const which of layers) {
            const label = now[which][i];
            const inside = chosen.label ? label === chosen.label : label !== 0;
            if (inside) value += (COLORS[which][c] - value) * chosen.fill * 0.6;
          }
          pixels.data[out + c] = value;
        }
        pixels.data[out + 3] = 255;
      }
    }
    context.putImageData(pixels, 0, 0);
  };

  // Borders of voxels between labels; of the prediction every other two, so that it looks dashed.
  const outline = (context, plane, which, chosen) => {
    const width = now.facts.shape[plane.across];
    const height = now.facts.shape[plane.down];
    const place = placer(plane);
    const { x0, y0, scale } = plane;
    const label = (x, y) => {
      if (x < 0 || y < 0 || x >= width || y >= height) return 0;
      const value = now[which][place(x, y)];
      return chosen.label && value !== chosen.label ? 0 : value;
    };
    const dash = Math.max(1, Math.round(7 / scale));
    const drawn = (x, y) => which === "reference" || Math.floor((x + y) / dash) % 2 === 0;
    context.beginPath();
    for (let y = 0; y <= height; y += 1) {
      for (let x = 0; x <= width; x += 1) {
        const here = label(x, y);
        if (here !== label(x - 1, y) && drawn(x, y)) {
          context.moveTo(x0 + x * scale, y0 + y * scale);
          context.lineTo(x0 + x * scale, y0 + (y + 1) * scale);
        }
        if (here !== label(x, y - 1) && drawn(x, y)) {
          context.moveTo(x0 + x * scale, y0 + y * scale);
          context.lineTo(x0 + (x + 1) * scale, y0 + y * scale);
        }
      }
    }
    context.globalAlpha = chosen.outline;
    context.lineCap = "square";
    context.strokeStyle = `rgb(${COLORS[which].join()})`;
    context.lineWidth = (which === "reference" ? 1.6 : 1.9) * (window.devicePixelRatio || 1);
    context.stroke();
    context.globalAlpha = 1;
  };

  const crosshair = (context, plane) => {
    const x = plane.x0 + (now.at[plane.across] + 0.5) * plane.scale;
    const y = plane.y0 + (now.at[plane.down] + 0.5) * plane.scale;
    const { width, height } = plane.canvas;
    const gap = 10 * (window.devicePixelRatio || 1);
    context.strokeStyle = "rgba(255, 255, 255, .55)";
    context.lineWidth = 1;
    context.beginPath();
    for (const [ax, ay, bx, by] of [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]]) {
      context.moveTo(ax, ay);
      context.lineTo(bx, by);
    }
    context.stroke();
  };

  const draw = () => {
    if (!now) return;
    const chosen = options();
    for (const plane of now.facts.flat ? PLANES.slice(0, 1) : PLANES) {
      const side = Math.max(1, Math.round(plane.canvas.clientWidth * (window.devicePixelRatio || 1)));
      if (plane.canvas.width !== side) Object.assign(plane.canvas, { width: side, height: side });
      const shape = now.facts.shape;
      plane.scale = side / Math.max(...shape);
      plane.x0 = (side - shape[plane.across] * plane.scale) / 2;
      plane.y0 = (side - shape[plane.down] * plane.scale) / 2;
      paint(plane, chosen);
      const context = plane.canvas.getContext("2d");
      context.fillStyle = "#000";
      context.fillRect(0, 0, side, side);
      context.imageSmoothingEnabled = plane.scale < 8;
      context.drawImage(plane.buffer, plane.x0, plane.y0, plane.buffer.width * plane.scale, plane.buffer.height * plane.scale);
      if (chosen.cross) crosshair(context, plane);
      for (const which of ["reference", "prediction"]) if (chosen[which]) outline(context, plane, which, chosen);
      const at = now.at[plane.through] + 1;
      const count = shape[plane.through];
      Object.assign(plane.slider, { max: count, value: at });
      plane.output.textContent = `${at} / ${count}`;
      const said = now.facts.flat ? "Picture" : `${plane.name} slice ${at} of ${count}`;
      plane.canvas.setAttribute("aria-label", `${said}, case ${now.facts.name}; ${contents(plane, chosen)}`);
    }
    describe(chosen);
  };

  const nameOf = (v) => (v ? data.labels[v - 1] : "background");
  const contents = (plane, chosen) => {
    const place = placer(plane);
    const found = { reference: 0, prediction: 0 };
    for (let y = 0; y < now.facts.shape[plane.down]; y += 1) {
      for (let x = 0; x < now.facts.shape[plane.across]; x += 1) {
        for (const which of ["reference", "prediction"]) found[which] += now[which][place(x, y)] !== 0;
      }
    }
    const on = ["reference", "prediction"].map((w) => `${w} ${chosen[w] ? "shown" : "hidden"}, ${found[w] ? "in" : "not in"} this slice`);
    return on.join("; ");
  };
  const describe = (chosen) => {
    const { shape, voxel, origin, range, unit, flat } = now.facts;
    const i = (now.at[2] * shape[1] + now.at[1]) * shape[0] + now.at[0];
    const mm = origin.map((o, axis) => o - now.at[axis] * voxel); // axes run to the left, back and feet
    const words = flat ? [] : [`${mm.map((v, axis) => `${Math.abs(v).toFixed(1)} ${(v < 0 ? "LPI" : "RAS")[axis]}`).join(", ")} mm`];
    if (now.image) words.push(`intensity ${short(range[0] + now.image[i] / 255 * (range[1] - range[0]), 4)}`);
    words.push(`reference: ${nameOf(now.reference[i])}`, `prediction: ${nameOf(now.prediction[i])}`);
    byId("v-at").textContent = `At the crosshair: ${words.join("; ")}. Display voxel ${short(voxel, 3)} ${unit}.`;
    if (range) {
      const step = (range[1] - range[0]) / 255;
      byId("v-wl").textContent = `W ${short(chosen.window * step, 3)}, L ${short(range[0] + chosen.level * step, 3)}`;
    }
  };

  const numbers = () => {
    const table = byId("v-numbers");
    const picked = data.columns.map((column, k) => ({ column, k })).filter(({ column }) => column.main);
    const cell = (tag, text, scope) => {
      const element = document.createElement(tag);
      element.textContent = text;
      if (scope) element.scope = scope;
      return element;
    };
    const head = document.createElement("tr");
    head.append(cell("th", "Label", "col"));
    for (const { column } of picked) head.append(cell("th", column.unit ? `${column.title} (${column.unit})` : column.title, "col"));
    table.tHead.replaceChildren(head);
    const first = data.cells.length - data.labels.length; // after the mean of the labels
    table.tBodies[0].replaceChildren(...data.labels.map((label, n) => {
      const tr = document.createElement("tr");
      const values = data.cells[first + n][now.facts.row];
      tr.append(cell("th", label, "row"), ...picked.map(({ column, k }) => cell("td", shown(number(values[k]), column.digits))));
      return tr;
    }));
  };

  const resetWindow = () => {
    const { range, window: first } = now.facts;
    if (!range) return;
    const step = (range[1] - range[0]) / 255;
    byId("v-window").value = (first[1] - first[0]) / step;
    byId("v-level").value = ((first[0] + first[1]) / 2 - range[0]) / step;
  };

  const open = async (k) => {
    wanted = k;
    for (const button of document.querySelectorAll(".picker button")) {
      button.setAttribute("aria-current", String(Number(button.dataset.viewer) === k));
    }
    byId("v-state").textContent = "loading";
    let found;
    try {
      found = await inflate(k);
    } catch (error) {
      byId("v-state").textContent = `This browser cannot show the slices (${error.message}).`;
      return;
    }
    if (wanted !== k) return; // another one was asked for meanwhile
    now = found;
    const { facts } = now;
    byId("v-name").textContent = facts.name;
    byId("v-state").textContent = `rank ${facts.rank} of ${data.rows.length} from the worst, mean Dice ${facts.score.toFixed(3)}` +
      (now.image ? "" : "; no image, outlines only");
    document.querySelector(".planes").classList.toggle("flat", facts.flat);
    byId("viewer").classList.toggle("no-image", !now.image);
    for (const plane of PLANES) {
      const letters = facts.flat ? facts.letters || ["", "", "", ""] : plane.letters;
      plane.figure.querySelectorAll(".letter").forEach((span, n) => { span.textContent = letters[n]; });
    }
    PLANES[0].figure.querySelector("figcaption").hidden = facts.flat;
    resetWindow();
    numbers();
    draw();
    byId("viewer").dataset.shown = String(k);
  };

  let due = false;
  const soon = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; draw(); });
  };
  const move = (axis, to) => {
    if (!now) return;
    now.at[axis] = Math.min(Math.max(to, 0), now.facts.shape[axis] - 1);
    soon();
  };
  const KEYS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e6, End: 1e6 };

  const listen = (plane) => {
    const { canvas } = plane;
    plane.slider.addEventListener("input", () => move(plane.through, Number(plane.slider.value) - 1));
    canvas.addEventListener("wheel", (event) => {
      if (!now || now.facts.flat || event.ctrlKey) return;
      event.preventDefault();
      move(plane.through, now.at[plane.through] + Math.sign(event.deltaY));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      if (!now || event.ctrlKey || event.metaKey || event.altKey) return;
      const key = event.key.toLowerCase();
      if (event.key in KEYS && !now.facts.flat) move(plane.through, now.at[plane.through] + KEYS[event.key]);
      else if (key === "r" || key === "p") byId(key === "r" ? "v-reference" : "v-prediction").click();
      else return;
      event.preventDefault();
    });
    let from = null;
    const aim = (event) => {
      const box = canvas.getBoundingClientRect();
      const ratio = canvas.width / box.width;
      now.at[plane.across] = Math.floor(((event.clientX - box.left) * ratio - plane.x0) / plane.scale);
      now.at[plane.down] = Math.floor(((event.clientY - box.top) * ratio - plane.y0) / plane.scale);
      for (const axis of [plane.across, plane.down]) move(axis, now.at[axis]);
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!now || event.button > 0) return;
      from = { x: event.clientX, y: event.clientY, window: Number(byId("v-window").value), level: Number(byId("v-level").value), far: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      from.far = from.far || Math.hypot(dx, dy) > 4;
      if (!from.far || !now.image) return;
      byId("v-window").value = from.window + dx;
      byId("v-level").value = from.level - dy;
      soon();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (from && !from.far) aim(event);
      from = null;
    });
    canvas.addEventListener("pointercancel", () => { from = null; });
  };
  PLANES.forEach(listen);
  for (const id of ["reference", "prediction", "cross", "label", "outline", "fill", "window", "level"]) {
    byId(`v-${id}`).addEventListener("input", soon);
  }
  byId("v-reset").addEventListener("click", () => {
    if (!now) return;
    now.at = [...now.start];
    for (const id of ["reference", "prediction", "cross"]) byId(`v-${id}`).checked = true;
    for (const [id, value] of [["label", 0], ["outline", 100], ["fill", 0]]) byId(`v-${id}`).value = value;
    resetWindow();
    draw();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-viewer]");
    if (!button) return;
    if (!button.closest(".picker")) byId("viewer").scrollIntoView();
    open(Number(button.dataset.viewer));
  });
  new ResizeObserver(soon).observe(document.querySelector(".planes"));
  open(0);
})();
