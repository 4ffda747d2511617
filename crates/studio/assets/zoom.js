// Looking closer at an image: buttons, keys, the wheel with Ctrl, dragging. Without this script the image fits
// its box.

const STEP = 1.25;
const LARGEST = 8;

for (const figure of document.querySelectorAll("[data-zoom]")) viewer(figure);

function viewer(figure) {
  const stage = figure.querySelector(".stage");
  const image = figure.querySelector("img");
  const width = Number(image.getAttribute("width"));
  let scale = null; // null: as large as fits

  const fits = () => Math.min(1, stage.clientWidth / width);
  const current = () => scale ?? fits();

  /// Zooms so that the point stays where it is; without a point, the middle does.
  function zoom(to, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const before = current();
    scale = to === null ? null : Math.min(LARGEST, Math.max(Math.min(0.1, fits()), to));
    figure.classList.toggle("zoomed", scale !== null);
    image.style.width = scale === null ? "" : `${width * scale}px`;
    const by = current() / before;
    stage.scrollLeft = (stage.scrollLeft + x) * by - x;
    stage.scrollTop = (stage.scrollTop + y) * by - y;
    says.textContent = `${Math.round(100 * current())} %`;
  }

  const tools = document.createElement("div");
  tools.className = "tools";
  const button = (text, label, work) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", work);
    tools.append(made);
  };
  button("−", "Smaller", () => zoom(current() / STEP));
  button("+", "Larger", () => zoom(current() * STEP));
  button("Fit", "Fit: as large as the box", () => zoom(null));
  button("100 %", "100 %: pixel by pixel", () => zoom(1));
  const says = document.createElement("span");
  says.className = "n";
  says.setAttribute("role", "status");
  tools.append(says);
  figure.insertBefore(tools, stage);

  stage.addEventListener("wheel", (event) => {
    // Without Ctrl the page scrolls, as everywhere; trackpads send Ctrl for a pinch.
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(current() * STEP ** Math.sign(-event.deltaY), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  stage.addEventListener("keydown", (event) => {
    const work = { "+": () => zoom(current() * STEP), "=": () => zoom(current() * STEP),
      "-": () => zoom(current() / STEP), 0: () => zoom(null), 1: () => zoom(1) }[event.key];
    if (!work || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    work();
  });

  let held = null;
  stage.addEventListener("pointerdown", (event) => {
    if (scale === null || event.pointerType !== "mouse") return;
    held = { x: event.clientX + stage.scrollLeft, y: event.clientY + stage.scrollTop };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!held) return;
    stage.scrollLeft = held.x - event.clientX;
    stage.scrollTop = held.y - event.clientY;
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { held = null; });

  image.addEventListener("error", () => {
    const note = document.createElement("p");
    note.className = "missing";
    note.textContent = "This image cannot be shown: its file is broken.";
    figure.replaceWith(note);
  });
  zoom(null);
}
