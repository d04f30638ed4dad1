// Dots that are put, moved and cleared; the page's program gets them all, and answers with what both networks say.
const NEAR = 0.06; // a dot so near is moved, as a part of the picture's width
let moved = null;
let next = null;
let busy = false;
const dots = () => JSON.parse(element.querySelector(".squares").dataset.dots);
let at = dots();
// One question at a time; of all that the pointer does meanwhile only the last counts.
const tell = async () => {
  next = at;
  if (busy) return;
  busy = true;
  try {
    while (next) {
      const asked = next;
      next = null;
      element.querySelector(".squares").outerHTML = await server.colour(asked);
    }
  } finally {
    busy = false;
  }
};
const point = (event) => {
  const box = element.querySelector("svg.place").getBoundingClientRect();
  const part = (n) => Math.round(Math.max(0, Math.min(1, n)) * 1000) / 1000;
  return [part((event.clientX - box.left) / box.width), part((event.clientY - box.top) / box.height)];
};

element.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("svg.place")) return;
  event.preventDefault();
  element.setPointerCapture(event.pointerId);
  const [x, y] = point(event);
  const distances = at.map(([a, b]) => Math.hypot(a - x, b - y));
  const nearest = distances.indexOf(Math.min(...distances));
  const limit = Number(element.querySelector(".squares").dataset.limit);
  const grabbed = distances[nearest] < NEAR ? nearest : at.length;
  if (grabbed >= limit) return;
  moved = grabbed;
  at = at.slice();
  at[moved] = [x, y];
  tell();
});
element.addEventListener("pointermove", (event) => {
  if (moved === null) return;
  at = at.slice();
  at[moved] = point(event);
  tell();
});
for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, () => (moved = null));
element.addEventListener("click", (event) => {
  if (!event.target.closest(".clear")) return;
  at = [];
  tell();
});
