// The strip of the last visits: who answered, which count, how long it took; and whether any count is missing.

const SHOWN_MAX = 60;
const COLOURS = 4;

export class History {
  #list;
  #summary;
  #last = null;
  #slowest = 0;
  #names = [];
  #seen = new Map();
  #totals = new Map();
  #figures = { answered: 0, failed: 0, lost: 0, more: 0 };
  #recent = [];

  constructor(list, summary) {
    this.#list = list;
    this.#summary = summary;
  }

  // Its mark: the number in its name, or a letter. A web server keeps its colour for as long as the page is open.
  mark(name) {
    const number = /(\d{1,2})$/.exec(name);
    return number ? number[1] : name.slice(0, 1).toUpperCase();
  }

  colour(name) {
    if (!this.#names.includes(name)) this.#names.push(name);
    const number = Number(this.mark(name));
    return (number > 0 ? number - 1 : this.#names.indexOf(name)) % COLOURS;
  }

  // Web servers that have answered so far, by name, and how many of the visits shown were theirs.
  get names() {
    return [...this.#names].sort();
  }

  seen(name) {
    this.colour(name);
    this.#seen.set(name, performance.now());
  }

  silentFor(name) {
    return (performance.now() - (this.#seen.get(name) ?? 0)) / 1000;
  }

  // How many visits each web server has answered since the page was opened, by name.
  get totals() {
    return new Map(this.#totals);
  }

  shareOf(name) {
    const own = this.#recent.filter((visit) => visit.server === name);
    return { own: own.length, all: this.#recent.length };
  }

  answered(count, server, ms) {
    this.seen(server);
    this.#totals.set(server, (this.#totals.get(server) ?? 0) + 1);
    const expected = this.#last === null ? count : this.#last + 1;
    this.#figures.answered += 1;
    this.#figures.lost += Math.max(0, expected - count);
    this.#figures.more += Math.max(0, count - expected);
    this.#last = count;
    this.#slowest = Math.max(this.#slowest, ms);
    const took = ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
    const cell = this.#add(server, this.mark(server), String(count), `${took} ms`);
    cell.classList.add(`web-${this.colour(server)}`);
    cell.classList.toggle("wrong", count < expected);
    cell.title = `visit ${count}, answered by ${server} in ${took} ms`;
    this.#summarize();
  }

  failed(why, ms) {
    this.#figures.failed += 1;
    const cell = this.#add("", "✕", "–", `${(ms / 1000).toFixed(1)} s`);
    cell.classList.add("wrong");
    cell.title = `not counted: ${why}`;
    this.#summarize();
  }

  #add(server, mark, count, took) {
    const cell = document.createElement("li");
    for (const [kind, text] of [["mark", mark], ["number", count], ["took", took]]) {
      const part = document.createElement("span");
      part.className = kind;
      part.textContent = text;
      cell.append(part);
    }
    this.#list.append(cell);
    this.#recent.push({ server });
    if (this.#list.children.length > SHOWN_MAX) {
      this.#list.firstElementChild.remove();
      this.#recent.shift();
    }
    return cell;
  }

  #summarize() {
    const { answered, failed, lost, more } = this.#figures;
    const parts = [
      `${answered} ${answered === 1 ? "visit" : "visits"} answered`,
      failed ? `${failed} without an answer` : "none without an answer",
      lost ? `${lost} lost` : "none lost",
      `the slowest took ${this.#slowest.toFixed(0)} ms`,
    ];
    const were = more === 1 ? "was" : "were";
    const extra = more ? ` ${more} more ${were} counted: by another tab, or the answer got lost.` : "";
    this.#summary.textContent = `${parts.join(", ")}.${extra}`;
    Object.assign(this.#summary.dataset, { answered, failed, lost });
  }
}
