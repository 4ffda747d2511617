// The list of a table: filters apply as they are chosen, and the list goes on as one scrolls. Without this
// script the same page works by its button and its link.

const main = document.querySelector("main");
let loading = null;

// Says how many rows there are to those who do not see it; it stays while the list is replaced.
const says = document.createElement("div");
says.className = "hidden-text";
says.setAttribute("role", "status");
main.append(says);

/// Waits until typing pauses.
function pausing(work, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds);
  };
}

/// The form's list as an address: what is empty says nothing.
function chosen(form) {
  const address = new URL(form.action);
  address.search = "";
  for (const [key, value] of new FormData(form)) {
    if (value !== "" && !(key === "order" && value === "table")) address.searchParams.append(key, value);
  }
  return address;
}

async function page(address, signal) {
  const response = await fetch(address, { signal });
  const text = await response.text();
  if (!response.ok) throw new Error(response.statusText);
  return new DOMParser().parseFromString(text, "text/html");
}

/// Puts the list of `address` in place of the one that is shown, and the counts beside the filters.
async function show(address, remember) {
  loading?.abort();
  loading = new AbortController();
  const results = document.querySelector("#results");
  results.setAttribute("aria-busy", "true");
  try {
    const next = await page(address, loading.signal);
    const focused = document.activeElement?.id;
    const typed = focused === "q" ? document.querySelector("#q") : null;
    const scrolled = document.querySelector("#filters").scrollTop;
    const lists = [...document.querySelectorAll(".facet ul")].map((list) => list.scrollTop);
    const closed = [...document.querySelectorAll(".facet:not([open])")].map((facet) => facet.querySelector("summary").textContent);
    for (const id of ["filters", "results"]) {
      const fresh = next.getElementById(id);
      // A page that still reads the table: it is loaded as a whole, and loads itself again.
      if (!fresh) return location.assign(address);
      if (id === "filters" && typed) fresh.querySelector("#q").replaceWith(typed);
      document.getElementById(id).replaceWith(document.adoptNode(fresh));
    }
    for (const facet of document.querySelectorAll(".facet")) {
      if (closed.includes(facet.querySelector("summary").textContent)) facet.open = false;
    }
    document.querySelector("#filters").scrollTop = scrolled;
    document.querySelectorAll(".facet ul").forEach((list, at) => { list.scrollTop = lists[at] ?? 0; });
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    if (remember) history.pushState(null, "", address);
    says.textContent = document.querySelector("#found").textContent;
    ready();
  } catch (error) {
    if (error.name !== "AbortError") location.assign(address);
  }
}

const soon = pausing(() => show(chosen(document.querySelector("#filters")), true), 250);

const watcher = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (isIntersecting) more(target);
  }
}, { rootMargin: "900px" });

/// Puts the next rows in place of the link to them.
async function more(link) {
  watcher.unobserve(link);
  const item = link.closest("li");
  if (item.getAttribute("aria-busy") === "true") return;
  item.setAttribute("aria-busy", "true");
  const hadFocus = document.activeElement === link;
  try {
    const response = await fetch(link.dataset.rows);
    if (response.status === 503) {
      item.removeAttribute("aria-busy");
      setTimeout(() => watcher.observe(link), 1000);
      return;
    }
    if (!response.ok) throw new Error(await response.text());
    const rows = document.createElement("template");
    // Made by our own server, with all text of the data escaped.
    rows.innerHTML = await response.text();
    const first = rows.content.querySelector("a");
    item.replaceWith(rows.content);
    if (hadFocus) first?.focus({ preventScroll: true });
    ready();
  } catch {
    // The link stays: who follows it sees what is wrong.
    item.removeAttribute("aria-busy");
  }
}

/// A picture that does not come says so.
function gone(picture) {
  const note = document.createElement("span");
  note.className = "thumb gone";
  note.textContent = "no image";
  picture.replaceWith(note);
}

/// Looks after what has come newly.
function ready() {
  document.querySelectorAll("a.next").forEach((link) => watcher.observe(link));
  document.querySelectorAll("img.thumb").forEach((picture) => {
    if (picture.complete && picture.naturalWidth === 0 && picture.src) gone(picture);
  });
}

main.addEventListener("error", (event) => {
  if (event.target.matches?.("img.thumb")) gone(event.target);
}, true);
main.addEventListener("change", (event) => {
  const form = event.target.closest("#filters");
  if (!form) return;
  // Another table has other columns: its values are none of the old one's.
  if (event.target.id === "table") {
    const address = new URL(form.action);
    address.search = "";
    address.searchParams.set("table", event.target.value);
    show(address, true);
  } else {
    show(chosen(form), true);
  }
});
main.addEventListener("input", (event) => {
  if (event.target.id === "q") soon();
});
main.addEventListener("submit", (event) => {
  if (event.target.id !== "filters") return;
  event.preventDefault();
  show(chosen(event.target), true);
});
main.addEventListener("click", (event) => {
  const chip = event.target.closest?.("a.chip");
  const next = event.target.closest?.("a.next");
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  if (chip) {
    event.preventDefault();
    show(chip.href, true);
  } else if (next) {
    event.preventDefault();
    more(next);
  }
});
addEventListener("popstate", () => show(location.href, false));
ready();
