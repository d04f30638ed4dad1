// A pen on the canvas. The strokes stay here; the page's program gets them all when one ends, and answers with boxes.
let strokes = JSON.parse(element.querySelector(".example").dataset.strokes);
let greeting = true; // the first drawing is an example, which makes room for one's own
let drawing = false;
const ink = () => element.querySelector(".ink");
const paint = () => {
  // A dot is a line too.
  const lines = strokes.map((s) => `<polyline points="${(s.length > 1 ? s : [...s, ...s]).map((p) => p.join(",")).join(" ")}"/>`);
  ink().innerHTML = lines.join("");
};
const show = (answer) => {
  element.querySelector(".found").innerHTML = answer.boxes;
  element.querySelector(".said").innerHTML = answer.said;
};
let asked = 0;
const tell = async () => {
  const question = ++asked;
  const answer = await server.draw(strokes);
  // An answer to strokes to which others were added since says nothing any more.
  if (question === asked) show(answer);
};
const replace = (others) => {
  greeting = false;
  strokes = others;
  element.querySelector(".found").innerHTML = "";
  paint();
  tell();
};
const point = (event) => {
  const box = element.querySelector(".paper").getBoundingClientRect();
  const part = (n) => Math.round(Math.max(0, Math.min(1, n)) * 1000) / 1000;
  return [part((event.clientX - box.left) / box.width), part((event.clientY - box.top) / box.height)];
};

element.addEventListener("pointerdown", (event) => {
  if (!event.target.closest(".paper")) return;
  event.preventDefault();
  element.setPointerCapture(event.pointerId);
  if (greeting) strokes = [];
  greeting = false;
  drawing = true;
  asked++;
  element.querySelector(".found").innerHTML = "";
  strokes.push([point(event)]);
  paint();
});
element.addEventListener("pointermove", (event) => {
  if (!drawing) return;
  const stroke = strokes[strokes.length - 1];
  const [x, y] = point(event);
  const [before, above] = stroke[stroke.length - 1];
  if (Math.hypot(x - before, y - above) < 0.004) return;
  stroke.push([x, y]);
  paint();
});
for (const name of ["pointerup", "pointercancel"])
  element.addEventListener(name, () => {
    if (!drawing) return;
    drawing = false;
    tell();
  });

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.strokes) replace(JSON.parse(button.dataset.strokes));
  if (button.matches(".undo")) replace(strokes.slice(0, -1));
  if (button.matches(".clear")) replace([]);
});

show(props.value);
paint();
