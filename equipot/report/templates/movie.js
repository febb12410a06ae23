"use strict";
// Molecules that move: balls and sticks on a canvas, turned by dragging.
for (const movie of document.querySelectorAll(".movie")) {
  const scene = JSON.parse(movie.querySelector("script").textContent);
  const canvas = movie.querySelector("canvas");
  const context = canvas.getContext("2d");
  const choice = movie.querySelector("select");
  const slider = movie.querySelector("input[type=range]");
  const button = movie.querySelector("button");
  const status = movie.querySelector("output");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let turn = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  let playing = !still, clock = 0, last = null;

  const times = (a, b) => a.map(row => b[0].map((_, k) => row.reduce((s, x, n) => s + x * b[n][k], 0)));
  const apply = p => turn.map(row => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);

  function positions() {
    if (scene.frames) return scene.frames[Number(slider.value)];
    const mode = scene.modes[Number(choice.value)];
    const reach = Number(slider.value) * Math.sin(clock * 2 * Math.PI);
    return scene.positions.map((p, i) => p.map((x, k) => x + reach * mode[i][k]));
  }

  function draw() {
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const scale = Math.min(width, height) / (2 * scene.extent);
    const raw = positions(), points = raw.map(apply), items = [];
    const at = p => [width / 2 + scale * p[0], height / 2 - scale * p[1]];
    for (let i = 0; i < raw.length; i++) {
      items.push([points[i][2], () => ball(at(points[i]), scale * 0.55 * scene.radii[i], scene.colors[i])]);
      for (let j = 0; j < i; j++) {
        const reach = 1.25 * (scene.radii[i] + scene.radii[j]);
        const distance = Math.hypot(...raw[i].map((x, k) => x - raw[j][k]));
        if (distance < reach) items.push([Math.min(points[i][2], points[j][2]) - 1e-3, () => stick(at(points[i]), at(points[j]), 0.16 * scale, Math.min(1, 6 * (reach / distance - 1)))]);
      }
    }
    items.sort((a, b) => a[0] - b[0]).forEach(item => item[1]());
    if (scene.frames) status.textContent = scene.labels[Number(slider.value)];
  }

  function ball([x, y], r, [light, color, dark]) {
    const shade = context.createRadialGradient(x - 0.3 * r, y - 0.4 * r, 0, x, y, r * 1.1);
    shade.addColorStop(0, light); shade.addColorStop(0.45, color); shade.addColorStop(1, dark);
    context.fillStyle = shade;
    context.beginPath(); context.arc(x, y, r, 0, 2 * Math.PI); context.fill();
  }

  function stick([x1, y1], [x2, y2], width, strength) {
    context.strokeStyle = "#8a949e"; context.lineWidth = width; context.lineCap = "round"; context.globalAlpha = strength;
    context.beginPath(); context.moveTo(x1, y1); context.lineTo(x2, y2); context.stroke(); context.globalAlpha = 1;
  }

  function step(now) {
    if (playing && last !== null) {
      clock += (now - last) / (scene.frames ? 4000 : 1200);
      if (scene.frames) {
        const n = scene.frames.length - 1, phase = (clock % 2 + 2) % 2;
        slider.value = Math.round(n * (phase < 1 ? phase : 2 - phase));
      }
      draw();
    }
    last = now;
    requestAnimationFrame(step);
  }

  function label() { button.textContent = playing ? "Pause" : "Play"; }
  button.addEventListener("click", () => { playing = !playing; label(); });
  slider.addEventListener("input", () => { if (scene.frames) { playing = false; clock = Number(slider.value) / (scene.frames.length - 1); label(); } draw(); });
  if (choice) choice.addEventListener("change", draw);
  canvas.addEventListener("pointermove", event => {
    if (!event.buttons) return;
    const a = event.movementX / 120, b = event.movementY / 120;
    const yaw = [[Math.cos(a), 0, Math.sin(a)], [0, 1, 0], [-Math.sin(a), 0, Math.cos(a)]];
    const pitch = [[1, 0, 0], [0, Math.cos(b), -Math.sin(b)], [0, Math.sin(b), Math.cos(b)]];
    turn = times(pitch, times(yaw, turn));
    draw();
  });
  addEventListener("resize", draw);
  if (still && !scene.frames) clock = 0.25;
  label(); draw(); requestAnimationFrame(step);
}
