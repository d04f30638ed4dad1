// Asks the page's program for what is rendered where the pointer is, in pixels of the canvas, on any of the pictures.
const SIZE = 64;
let pressed = null;
let walk = null;
// The element that stays; what is in it is replaced with each answer.
element.tabIndex = 0;
const clamp = (n) => Math.max(0, Math.min(SIZE - 1, n));
const pictures = () => [...element.querySelectorAll("svg.place")];
let next = null;
let busy = false;
// One question at a time; of all that the pointer does meanwhile only the last counts.
const tell = async (x, y) => {
  next = [clamp(x), clamp(y)];
  if (busy) return;
  busy = true;
  try {
    while (next) {
      const at = next;
      next = null;
      element.querySelector(".squares").outerHTML = await server.point(at);
    }
  } finally {
    busy = false;
  }
};
const follow = (event) => {
  const box = pictures()[pressed].getBoundingClientRect();
  tell(Math.floor(((event.clientX - box.left) / box.width) * SIZE), Math.floor(((event.clientY - box.top) / box.height) * SIZE));
};
const stop = () => {
  clearInterval(walk);
  walk = null;
};

element.addEventListener("pointerdown", (event) => {
  const picture = event.target.closest("svg.place");
  if (!picture) return;
  event.preventDefault();
  stop();
  pressed = pictures().indexOf(picture);
  element.setPointerCapture(event.pointerId);
  element.focus({ preventScroll: true });
  follow(event);
});
element.addEventListener("pointermove", (event) => pressed !== null && follow(event));
for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, () => (pressed = null));

element.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const at = element.querySelector(".squares")?.dataset;
  if (!step || !at) return;
  event.preventDefault();
  stop();
  tell(Number(at.x) + step[0], Number(at.y) + step[1]);
});
// From the middle of what was trained on, over the border, into what was not.
element.addEventListener("click", (event) => {
  if (!event.target.closest(".walk")) return;
  stop();
  let at = 8;
  walk = setInterval(() => {
    tell(at, at);
    at += 2;
    if (at > 56) stop();
  }, 120);
});
