'use strict';
// Zoom and pan by the SVG's view box, and how opaque the SAR image is. The page shows the same without this.
for (const figure of document.querySelectorAll('figure.map')) {
  const stage = figure.querySelector('.stage'), svg = stage.querySelector('svg');
  const [, , width, height] = svg.getAttribute('viewBox').split(' ').map(Number);
  const metres = Number(svg.dataset.metres), unit = Number(svg.dataset.unit);
  const bar = stage.querySelector('.scale');
  let view = { x: 0, y: 0, w: width };

  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  function draw() {
    const shown = stage.clientWidth || 1;
    // At most eight pixels of the screen for one of the map.
    view.w = clamp(view.w, Math.min(width, shown / 8 / unit), width);
    const h = view.w * height / width;
    view.x = clamp(view.x, 0, width - view.w);
    view.y = clamp(view.y, 0, height - h);
    svg.setAttribute('viewBox', `${view.x} ${view.y} ${view.w} ${h}`);
    // Marks grow slower than the map, and less on a large screen.
    svg.style.setProperty('--k', (view.w / width) ** 0.8 * clamp(900 / shown, 1, 2.2));
    stage.classList.toggle('zoomed', view.w < width * 0.999);
    if (bar && metres > 0) {
      const most = view.w * metres / 4, power = 10 ** Math.floor(Math.log10(most));
      const length = power * (5 * power <= most ? 5 : 2 * power <= most ? 2 : 1);
      bar.querySelector('i').style.width = `${100 * length / (view.w * metres)}%`;
      bar.querySelector('span').textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
    }
  }
  // By a factor about a place on the screen, by default the middle.
  function zoom(factor, place) {
    const box = stage.getBoundingClientRect();
    const fx = place ? (place.clientX - box.left) / box.width : 0.5, fy = place ? (place.clientY - box.top) / box.height : 0.5;
    const w = clamp(view.w / factor, Math.min(width, box.width / 8 / unit), width);
    view = { x: view.x + fx * (view.w - w), y: view.y + fy * (view.w - w) * height / width, w };
    draw();
  }
  function show([x, y, w, h]) {
    view.w = Math.max(w, h * width / height) * 1.15;
    view.x = x + w / 2 - view.w / 2;
    view.y = y + h / 2 - view.w * height / width / 2;
    draw();
  }
  const whole = () => show([0, 0, width, height]);

  const fingers = new Map();
  let moved = 0;
  stage.addEventListener('pointerdown', (e) => {
    if (e.target.closest('button')) return;
    fingers.set(e.pointerId, e);
    moved = 0;
  });
  stage.addEventListener('pointermove', (e) => {
    const before = fingers.get(e.pointerId);
    if (!before) return;
    const scale = view.w / stage.clientWidth;
    const others = [...fingers.values()].filter((f) => f.pointerId !== e.pointerId);
    moved += Math.hypot(e.clientX - before.clientX, e.clientY - before.clientY);
    // Captured only now: a click that does not move goes to the mark below it.
    if (moved > 4 && !stage.hasPointerCapture(e.pointerId)) stage.setPointerCapture(e.pointerId);
    if (moved > 4) {
      const share = others.length ? 0.5 : 1;
      view.x -= (e.clientX - before.clientX) * scale * share;
      view.y -= (e.clientY - before.clientY) * scale * share;
      if (others.length === 1) {
        const other = others[0], apart = (f) => Math.hypot(f.clientX - other.clientX, f.clientY - other.clientY) || 1;
        zoom(apart(e) / apart(before), { clientX: (e.clientX + other.clientX) / 2, clientY: (e.clientY + other.clientY) / 2 });
      }
      draw();
    }
    fingers.set(e.pointerId, e);
  });
  for (const end of ['pointerup', 'pointercancel']) stage.addEventListener(end, (e) => fingers.delete(e.pointerId));
  stage.addEventListener('click', (e) => { if (moved > 4) e.preventDefault(); moved = 0; }, true);
  stage.addEventListener('dragstart', (e) => e.preventDefault());
  stage.addEventListener('dblclick', (e) => { if (!e.target.closest('button, a')) zoom(e.shiftKey ? 0.5 : 2, e); });
  stage.addEventListener('wheel', (e) => {
    // The page scrolls on unless the map was chosen.
    if (!e.ctrlKey && !stage.contains(document.activeElement)) return;
    e.preventDefault();
    zoom(2 ** (-clamp(e.deltaY, -200, 200) / 200), e);
  }, { passive: false });
  stage.addEventListener('keydown', (e) => {
    const step = view.w / 8;
    const keys = { '+': () => zoom(1.5), '=': () => zoom(1.5), '-': () => zoom(1 / 1.5), '0': whole,
      ArrowLeft: () => { view.x -= step; }, ArrowRight: () => { view.x += step; }, ArrowUp: () => { view.y -= step; }, ArrowDown: () => { view.y += step; } };
    if (!keys[e.key] || e.target !== stage || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key.startsWith('Arrow') && view.w >= width * 0.999) return;
    e.preventDefault();
    keys[e.key]();
    draw();
  });
  figure.addEventListener('click', (e) => {
    const button = e.target.closest('[data-zoom]');
    if (button) ({ in: () => zoom(1.7), out: () => zoom(1 / 1.7), all: whole })[button.dataset.zoom]();
  });
  for (const link of document.querySelectorAll('[data-box]')) {
    link.addEventListener('click', () => show(link.dataset.box.split(' ').map((v) => Number(v) / unit)));
  }
  const slider = figure.querySelector('.opacity');
  if (slider) {
    const blend = () => svg.style.setProperty('--sar', slider.value / 100);
    slider.addEventListener('input', blend);
    blend();
  }
  addEventListener('resize', draw);
  draw();
}
document.documentElement.dataset.script = 'ran';
