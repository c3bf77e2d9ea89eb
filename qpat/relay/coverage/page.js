"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const data = JSON.parse(document.getElementById("data").textContent);
  const { width: W, height: H, gap: GAP } = data.size;
  const at = (id) => document.getElementById(id);
  const drawing = at("drawing"), scene = at("scene"), map = at("map");
  const hues = new Map(data.legend.map((name, i) => [name, Math.round(212 + i * 137.508) % 360]));

  let model, nodes, groups, edges, marks; // of the model that is shown
  let view = { x: 0, y: 0, scale: 1 };
  let chosen = -1, lit = null;

  // ---- small helpers: all text becomes text, never markup -------------------------------------
  function element(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties || {});
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }
  function shape(name, attributes, parent) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (parent) parent.append(made);
    return made;
  }
  function tinted(made, pattern) {
    if (hues.has(pattern)) made.style.setProperty("--hue", hues.get(pattern));
    return made;
  }
  function share(part, whole) {
    if (!whole) return "–";
    if (part === 0 || part === whole) return part ? "100 %" : "0 %";
    const percent = Math.round((1000 * part) / whole) / 10;
    if (percent < 0.1) return "<0.1 %";
    return percent > 99.9 ? ">99.9 %" : `${percent.toFixed(1)} %`;
  }
  const number = (value) => value.toLocaleString("en-US");
  const large = (value) => value < 1e6 ? number(value) : value < 1e9 ? `${(value / 1e6).toFixed(1)} M` : `${(value / 1e9).toFixed(2)} G`;
  const end = (text, most) => text.length <= most ? text : `…${text.slice(text.length - most + 1)}`;
  const start = (text, most) => text.length <= most ? text : `${text.slice(0, most - 1)}…`;
  const kindOf = (node) => node.kind === "composite" || node.kind === "rule" ? "taken" : node.kind;
  const keyOf = (node) => node.pattern || node.kind; // what it is in the legend
  const top = (node) => node.layer * (H + GAP);
  function swatch(node) {
    const made = element("span", { className: `swatch ${node.pattern ? "" : node.kind}` });
    return tinted(made, node.pattern);
  }

  // ---- the drawing ------------------------------------------------------------------------------
  function show(number) {
    model = data.models[number];
    nodes = model.graph.nodes;
    chosen = -1;
    at("model").value = String(number);
    at("edges").replaceChildren();
    at("nodes").replaceChildren();
    edges = model.graph.edges.map(drawEdge);
    groups = nodes.map(drawNode);
    nodes.forEach((node) => { node.operands = []; node.users = []; });
    model.graph.edges.forEach(([above, below]) => {
      nodes[above].users.push(below);
      nodes[below].operands.push(above);
    });
    if (groups.length) groups[0].setAttribute("tabindex", "0");
    showFigures();
    showLegend();
    showCounts();
    describe();
    at("search").value = "";
    light(null);
    drawMap();
    begin();
  }

  function drawEdge([above, below, bends]) {
    let x = nodes[above].x, y = top(nodes[above]) + H;
    let path = `M${x} ${y}`;
    const curve = (to, down) => {
      const half = (y + down) / 2;
      path += x === to ? `V${down}` : `C${x} ${half} ${to} ${half} ${to} ${down}`;
      x = to;
      y = down;
    };
    bends.forEach((bend, i) => {
      curve(bend, (nodes[above].layer + 1 + i) * (H + GAP));
      y += H;
      path += `V${y}`;
    });
    curve(nodes[below].x, top(nodes[below]) - 1);
    return shape("path", { d: path }, at("edges"));
  }

  function drawNode(node, index) {
    const kind = kindOf(node);
    const group = shape("g", {
      class: `node ${kind} ${node.kind === "rule" ? "rule" : ""}`,
      transform: `translate(${node.x - W / 2} ${top(node)})`,
      tabindex: "-1", role: "button", "data-node": index,
    }, at("nodes"));
    const what = kind === "host" ? "on the host" : kind === "input" ? "an input" : "";
    group.setAttribute("aria-label", [node.title, node.name, what].filter(Boolean).join(", "));
    tinted(group, node.pattern);
    shape("rect", { class: "box", width: W, height: H, rx: kind === "input" ? H / 2 : 7 }, group);
    if (kind === "taken") shape("rect", { class: "edge", x: 5, y: 7, width: 4, height: H - 14, rx: 2 }, group);
    const left = kind === "input" ? 18 : 16;
    shape("text", { x: left, y: 18 }, group).textContent = start(node.title, kind === "input" ? 21 : 23);
    const second = kind === "input" ? node.type : node.name;
    if (second) shape("text", { class: "name", x: left, y: 33 }, group).textContent = end(second, 28);
    if (model.graph.results.includes(index)) {
      shape("text", { class: "result", x: W / 2, y: H + 17 }, group).textContent = "▼ result";
    }
    shape("title", {}, group).textContent = [node.title, node.name, node.type].filter(Boolean).join("\n");
    return group;
  }

  // ---- where one looks --------------------------------------------------------------------------
  function look() {
    scene.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
    const box = drawing.getBoundingClientRect();
    const corner = { x: -view.x / view.scale, y: -view.y / view.scale };
    for (const [key, value] of Object.entries({
      x: corner.x * marks.scale + 6, y: corner.y * marks.scale + 6,
      width: (box.width / view.scale) * marks.scale, height: (box.height / view.scale) * marks.scale,
    })) at("window").setAttribute(key, value.toFixed(1));
  }
  function begin() {
    // All of its width where that can be read, from the top.
    const box = drawing.getBoundingClientRect(), graph = model.graph;
    const scale = Math.min(1, Math.max(0.75, (box.width - 200) / Math.max(1, graph.width)));
    const first = nodes.length ? nodes[0].x : 0;
    const middle = graph.width * scale < box.width ? graph.width / 2 : first;
    view = { scale, x: box.width / 2 - middle * scale, y: 28 };
    look();
  }
  function fit() {
    const box = drawing.getBoundingClientRect(), graph = model.graph;
    const scale = Math.min(1, (box.width - 60) / Math.max(1, graph.width), (box.height - 60) / Math.max(1, graph.height + 20));
    view = { scale, x: (box.width - graph.width * scale) / 2, y: (box.height - graph.height * scale) / 2 };
    look();
  }
  function zoom(factor, x, y) {
    const box = drawing.getBoundingClientRect();
    const px = x === undefined ? box.width / 2 : x - box.left, py = y === undefined ? box.height / 2 : y - box.top;
    const scale = Math.min(4, Math.max(0.02, view.scale * factor));
    const ratio = scale / view.scale;
    view = { scale, x: px - (px - view.x) * ratio, y: py - (py - view.y) * ratio };
    look();
  }
  function centre(x, y) {
    const box = drawing.getBoundingClientRect();
    view.x = box.width / 2 - x * view.scale;
    view.y = box.height / 2 - y * view.scale;
    look();
  }
  function reveal(index) {
    const box = drawing.getBoundingClientRect(), node = nodes[index];
    if (view.scale < 0.45) view.scale = 0.8;
    const x = node.x * view.scale + view.x, y = (top(node) + H / 2) * view.scale + view.y;
    if (x < 90 || y < 40 || x > box.width - 90 || y > box.height - 40) centre(node.x, top(node) + H / 2);
    else look();
  }

  function drawMap() {
    const graph = model.graph, box = drawing.getBoundingClientRect();
    const scale = Math.min(112 / Math.max(1, graph.width), Math.max(60, box.height - 40) / Math.max(1, graph.height), 0.25);
    map.setAttribute("width", graph.width * scale + 12);
    map.setAttribute("height", graph.height * scale + 12);
    const parent = map.firstElementChild;
    parent.replaceChildren();
    marks = nodes.map((node) => tinted(shape("rect", {
      class: kindOf(node), x: (node.x - W / 2) * scale + 6, y: top(node) * scale + 6,
      width: Math.max(1.5, W * scale), height: Math.max(1.5, H * scale),
    }, parent), node.pattern));
    marks.scale = scale;
  }

  // ---- what is chosen, and what is lit ----------------------------------------------------------
  function choose(index, focus) {
    groups.forEach((group, i) => group.classList.toggle("chosen", i === index));
    edges.forEach((edge, i) => {
      const [above, below] = model.graph.edges[i];
      edge.classList.toggle("hot", above === index || below === index);
    });
    chosen = index;
    describe();
    if (index < 0) return;
    rove(index, focus);
  }
  function rove(index, focus) {
    groups.forEach((group) => group.setAttribute("tabindex", "-1"));
    groups[index].setAttribute("tabindex", "0");
    if (focus) groups[index].focus({ preventScroll: true });
    reveal(index);
  }
  function light(wanted) {
    lit = wanted;
    drawing.classList.toggle("dimmed", wanted !== null);
    groups.forEach((group, i) => {
      const is = wanted !== null && wanted(nodes[i]);
      group.classList.toggle("lit", is);
      marks && marks[i] && marks[i].classList.toggle("dim", wanted !== null && !is);
    });
    if (!wanted) document.querySelectorAll("#legend button").forEach((each) => each.setAttribute("aria-pressed", "false"));
  }

  function showLegend() {
    const counts = new Map();
    nodes.forEach((node) => counts.set(keyOf(node), (counts.get(keyOf(node)) || 0) + 1));
    const entries = data.legend.filter((name) => counts.has(name)).map((name) => ({ key: name, label: name, pattern: name }));
    if (counts.has("host")) entries.push({ key: "host", label: "on the host", kind: "host" });
    if (counts.has("input")) entries.push({ key: "input", label: "inputs", kind: "input" });
    at("legend").replaceChildren(...entries.map((entry) => {
      const button = element("button", { type: "button" }, swatch(entry),
        element("span", { className: "label", textContent: entry.label }),
        element("span", { className: "count", textContent: counts.get(entry.key) }));
      button.dataset.key = entry.key;
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        const was = button.getAttribute("aria-pressed") === "true";
        at("search").value = "";
        at("found").textContent = "";
        light(null);
        if (was) return;
        light((node) => keyOf(node) === entry.key);
        button.setAttribute("aria-pressed", "true");
      });
      return element("li", {}, button);
    }));
  }

  function found() {
    const words = at("search").value.trim().toLowerCase();
    if (!words) return null;
    return (node) => [node.title, node.name, ...(node.calls || [])].some((each) => each && each.toLowerCase().includes(words));
  }
  at("search").addEventListener("input", () => {
    light(null);
    const wanted = found();
    light(wanted);
    at("found").textContent = wanted ? `${nodes.filter(wanted).length} found, Enter goes to the next` : "";
  });
  at("search").addEventListener("keydown", (event) => {
    const wanted = found();
    if (event.key !== "Enter" || !wanted) return;
    const hits = nodes.map((node, i) => i).filter((i) => wanted(nodes[i]));
    if (hits.length) choose(hits.find((i) => i > chosen) ?? hits[0]);
  });

  // ---- what is said of a node -------------------------------------------------------------------
  function table(head, rows) {
    const line = (cell) => (cells) => element("tr", {}, ...cells.map((text) => element(cell, { textContent: text })));
    return element("table", {}, element("thead", {}, line("th")(head)), element("tbody", {}, ...rows.map(line("td"))));
  }
  function describe() {
    const panel = at("details");
    if (chosen < 0) {
      panel.replaceChildren(element("p", { className: "soft", textContent: "Choose a node to see its record, or why it stays on the host." }),
        element("p", { className: "soft", textContent: "Drag or scroll to move, Ctrl and scroll to zoom. Of a node that has the focus, arrow keys lead to operands and users." }));
      return;
    }
    const node = nodes[chosen], parts = [];
    parts.push(element("h3", {}, swatch(node), element("span", { textContent: node.title })));
    if (node.name && node.name !== node.title) parts.push(element("p", { className: "soft", textContent: node.name }));
    const [reason, ...more] = node.reasons || [];
    if (reason) parts.push(element("p", { className: "reason", textContent: reason }));
    more.forEach((text) => parts.push(element("p", { className: "soft", textContent: text })));
    const facts = [["form", node.form], ["gives", node.type], ["MACs", node.macs && number(node.macs)],
      ["operators", node.kind === "composite" && (node.calls || []).join(", ")]].filter((fact) => fact[1]);
    if (node.kind === "rule") facts.unshift(["operator", `${(node.calls || []).join(", ")}, taken as it is`]);
    if (facts.length) parts.push(element("h4", { textContent: "What it is" }), table([], facts));
    if (node.ports) parts.push(element("h4", { textContent: "Ports" }), Object.assign(table(["", "dtype", "shape", "scale", "zero point"], node.ports), { className: "ports" }));
    if (node.params) parts.push(element("h4", { textContent: "Parameters" }), table([], node.params));
    for (const [title, others] of [["Operands", node.operands], ["Users", node.users]]) {
      if (others.length) parts.push(element("h4", { textContent: title }), ...others.map(jump));
    }
    panel.replaceChildren(...parts);
    panel.scrollTop = 0;
  }
  function jump(index) {
    const node = nodes[index];
    const text = [node.title, node.name !== node.title && node.name].filter(Boolean).join("  ");
    const button = element("button", { type: "button", className: "jump", textContent: text, title: text });
    button.addEventListener("click", () => choose(index, true));
    return button;
  }

  // ---- numbers ----------------------------------------------------------------------------------
  function showFigures() {
    const figure = (label, work, unit) => {
      const meter = element("meter", { min: 0, max: work.all || 1, value: work.offloaded });
      meter.setAttribute("aria-label", `${label} offloaded`);
      return element("div", { className: "figure" },
        element("span", { textContent: `${label}: ${unit(work.offloaded)} of ${unit(work.all)}` }),
        element("b", { textContent: share(work.offloaded, work.all) }), meter);
    };
    at("figures").replaceChildren(figure("calls", model.calls, number), figure("MACs", model.macs, large));
  }

  function numbers(head, rows, words) {
    const made = table(head, rows.map((row) => row.map(String)));
    made.querySelectorAll("tr").forEach((line) => [...line.children].forEach((cell, i) => {
      if (words.includes(i)) return;
      cell.classList.add("number");
      if (["0", "0 %", "–"].includes(cell.textContent)) cell.classList.add("zero");
    }));
    return made;
  }
  const nameOf = (form) => form.form === null ? form.pattern : `${form.pattern}, form ${form.form}`;
  function countsOf(counted, title) {
    const parts = [element("h2", { textContent: title })];
    const placed = counted.forms.filter((form) => form.matched || form.refused || form.lost);
    const rows = placed.map((form) => [nameOf(form), form.matched, `${form.rows.filter((row) => row[1]).length}/${form.rows.length}`, form.refused, form.lost, form.on_host,
      share(form.calls, counted.calls.all), share(form.macs, counted.macs.all)]);
    if (rows.length) {
      const made = numbers(["pattern", "matched", "rows", "refused", "lost", "on host", "of calls", "of MACs"], rows, [0]);
      made.querySelectorAll("tbody tr").forEach((line, i) => {
        if (hues.has(placed[i].pattern)) line.firstElementChild.prepend(swatch(placed[i]));
      });
      parts.push(made);
    }
    const refusals = counted.forms.flatMap((form) => form.refusals.filter((each) => each.about !== "taken").map((each) => ({ form, ...each })));
    refusals.sort((a, b) => b.on_host - a.on_host || b.count - a.count);
    if (refusals.length) {
      parts.push(element("h3", { textContent: "What refused a place" }), numbers(["refused", "on host", "pattern", "reason", "where"],
        refusals.map((each) => [each.count, each.on_host, nameOf(each.form), each.reason, each.file === null ? "" : `${each.file}:${each.line}`]), [2, 3, 4]));
    }
    const each = counted.forms.flatMap((form) => form.rows.map((row) => [nameOf(form), ...row]));
    const idle = each.filter((row) => row[2] === 0).length;
    parts.push(element("details", {}, element("summary", { textContent: `Rows: ${idle} of ${each.length} never matched` }),
      numbers(["pattern", "row", "matched", "refused"], each, [0, 1])));
    const others = counted.forms.filter((form) => !placed.includes(form)).map(nameOf);
    if (others.length) parts.push(element("h3", { textContent: "No place" }), element("p", { textContent: others.join("; ") }));
    return parts;
  }
  function showCounts() {
    const parts = [];
    if (data.models.length > 1) {
      const works = [...data.models, { model: "all", ...data.total }];
      parts.push(element("h2", { textContent: "Models" }), numbers(["model", "calls", "offloaded", "share", "MACs", "offloaded", "share"],
        works.map((each) => [each.model, number(each.calls.all), number(each.calls.offloaded), share(each.calls.offloaded, each.calls.all),
          number(each.macs.all), number(each.macs.offloaded), share(each.macs.offloaded, each.macs.all)]), [0]));
    }
    parts.push(...countsOf(model, data.models.length > 1 ? model.model : "Patterns"));
    if (data.models.length > 1) parts.push(...countsOf(data.total, "All models"));
    at("counts-view").replaceChildren(...parts);
  }

  // ---- hands ------------------------------------------------------------------------------------
  const nodeAt = (target) => target.closest ? target.closest(".node") : null;
  let drag = null;
  drawing.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    drag = { x: event.clientX, y: event.clientY, from: { ...view }, moved: false, node: nodeAt(event.target) };
  });
  window.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    drag.moved = true;
    drawing.classList.add("dragged");
    view = { ...drag.from, x: drag.from.x + dx, y: drag.from.y + dy };
    look();
  });
  window.addEventListener("pointerup", () => {
    if (drag && !drag.moved) choose(drag.node ? Number(drag.node.dataset.node) : -1, true);
    drag = null;
    drawing.classList.remove("dragged");
  });
  window.addEventListener("pointercancel", () => { drag = null; });
  drawing.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), event.clientX, event.clientY);
      return;
    }
    const step = event.deltaMode ? 18 : 1;
    view.x -= (event.shiftKey ? event.deltaY : event.deltaX) * step;
    view.y -= (event.shiftKey ? 0 : event.deltaY) * step;
    look();
  }, { passive: false });
  drawing.addEventListener("keydown", (event) => {
    const group = nodeAt(event.target);
    if (!group) return;
    const index = Number(group.dataset.node), node = nodes[index];
    const beside = (step) => {
      const row = nodes.map((each, i) => i).filter((i) => nodes[i].layer === node.layer).sort((a, b) => nodes[a].x - nodes[b].x);
      return row[row.indexOf(index) + step];
    };
    const next = { ArrowUp: () => node.operands[0], ArrowDown: () => node.users[0],
      ArrowLeft: () => beside(-1), ArrowRight: () => beside(1),
      Home: () => 0, End: () => nodes.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") choose(index, true);
    else if (next && next() !== undefined) rove(next(), true);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") && event.key !== "Escape") return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = { "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit,
      "/": () => { tab("graph"); at("search").focus(); event.preventDefault(); },
      Escape: () => { at("search").value = ""; at("found").textContent = ""; light(null); choose(-1); } }[event.key];
    if (act) act();
  });
  at("zoom-in").addEventListener("click", () => zoom(1.25));
  at("zoom-out").addEventListener("click", () => zoom(0.8));
  at("zoom-fit").addEventListener("click", fit);
  const toPlace = (event) => {
    if (!(event.buttons & 1)) return;
    const box = map.getBoundingClientRect();
    centre((event.clientX - box.left - 6) / marks.scale, (event.clientY - box.top - 6) / marks.scale);
  };
  map.addEventListener("pointerdown", toPlace);
  map.addEventListener("pointermove", toPlace);

  function tab(name) {
    for (const each of ["graph", "counts"]) {
      at(`${each}-tab`).setAttribute("aria-selected", String(each === name));
      at(`${each}-tab`).tabIndex = each === name ? 0 : -1;
      at(`${each}-view`).hidden = each !== name;
    }
    if (name === "graph") { drawMap(); light(lit); look(); }
  }
  for (const [name, other] of [["graph", "counts"], ["counts", "graph"]]) {
    at(`${name}-tab`).addEventListener("click", () => tab(name));
    at(`${name}-tab`).addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      tab(other);
      at(`${other}-tab`).focus();
    });
  }
  window.addEventListener("resize", () => { if (!at("graph-view").hidden) { drawMap(); light(lit); look(); } });

  const paths = data.models.map((each) => each.model);
  const folder = paths.length < 2 ? "" : paths.reduce((common, path) => {
    while (!path.startsWith(common)) common = common.replace(/[^/]*\/?$/, "");
    return common;
  }, paths[0].replace(/[^/]*$/, ""));
  Object.assign(at("patterns"), { textContent: data.patterns.split("/").pop(), title: data.patterns });
  at("model").append(...paths.map((path, i) => element("option", { value: String(i), textContent: path.slice(folder.length), title: path })));
  at("model-label").hidden = !data.models.length;
  at("model").addEventListener("change", () => show(Number(at("model").value)));
  show(0);
})();
