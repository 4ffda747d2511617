// The runs: filtering the list as one types, and what is being written in a run now.

const form = document.querySelector('form[action="/runs"]');
const table = document.getElementById('runs');
if (form && table) filterList(form, table);
const live = document.getElementById('live');
if (live) follow(live);

function filterList(form, table) {
  const entry = form.elements.namedItem('q');
  const shown = document.getElementById('shown');
  const rows = [...table.tBodies[0].rows];
  // The server has left rows out already: then only it can bring them back.
  if (rows.length < Number(table.dataset.all)) return;
  entry.addEventListener('input', () => {
    const words = entry.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const row of rows) {
      const fits = words.every((word) => row.dataset.text.includes(word));
      row.hidden = !fits;
      n += fits ? 1 : 0;
    }
    shown.textContent = `${n} of ${rows.length} runs`;
  });
}

async function follow(section) {
  const list = section.querySelector('ul');
  let state = section.dataset.state;
  let again = 2;
  for (;;) {
    await new Promise((done) => setTimeout(done, again * 1000));
    if (document.hidden) continue;
    let answer;
    try {
      const response = await fetch(section.dataset.live, { headers: { accept: 'application/json' } });
      if (!response.ok) throw new Error(String(response.status));
      answer = await response.json();
    } catch {
      // The server may be starting again.
      again = 10;
      continue;
    }
    again = answer.again;
    // Only lines that changed are written, so that a reader's program does not say the others again.
    answer.lines.forEach((line, i) => {
      const item = list.children[i] ?? list.appendChild(document.createElement('li'));
      if (item.textContent !== line) item.textContent = line;
    });
    while (list.children.length > answer.lines.length) list.lastElementChild.remove();
    section.hidden = answer.lines.length === 0;
    if (answer.state !== state) {
      state = answer.state;
      await renew();
    }
  }
}

/** Brings the parts of the page that change when a stage ends. */
async function renew() {
  const response = await fetch(location.href, { headers: { accept: 'text/html' } });
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  for (const id of ['figures', 'pipeline', 'counts', 'rejects']) {
    const [now, then] = [page.getElementById(id), document.getElementById(id)];
    if (now && then) then.replaceWith(document.importNode(now, true));
  }
}
