// The cards of the servers. A card is made once and then changed in place, so that the keyboard's focus stays in it.

const VERBS = {
  memcached: { start: "Start", stop: "Stop", kill: "Kill", hang: "Hang", continue: "Continue", empty: "Empty" },
  web: { start: "Start", stop: "Stop", kill: "Kill", hang: "Hang", continue: "Continue" },
};
const EXPLAINED = {
  start: "start it, empty as it is", stop: "end it in order (SIGTERM)", kill: "end it at once (SIGKILL)",
  hang: "it keeps its connections and answers nobody (SIGSTOP)", continue: "let it go on (SIGCONT)",
  empty: "forget everything (flush_all)",
};
// Which buttons make sense, by what the demo says of the process.
const POSSIBLE = {
  runs: ["stop", "kill", "hang", "empty"], hangs: ["continue", "kill"], ended: ["start"],
};
const STATES = {
  up: "✓ up", refused: "✕ stopped", silent: "… silent", unknown: "✕ not found", lost: "✕ failing",
  other: "✕ not memcached", runs: "✓ runs", hangs: "… hangs", ended: "✕ stopped", seen: "✓ answers",
  unseen: "… silent",
};
const UNSEEN_S = 5;
const NOTICE_MS = 8000;
const CALM_S = 6;
const CALM_VISITS = 2;
const GOOD = ["up", "runs", "seen"];
const SLOW = ["hangs", "silent", "unseen"];

const text = (element, what) => {
  if (element.textContent !== what) element.textContent = what;
};
const or = (value, make) => (value === null || value === undefined || value === "" ? "–" : make(value));
const two = (number) => String(number).padStart(2, "0");
const clock = (s) => {
  const whole = Math.floor(s);
  const [h, m] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return h ? `${h}:${two(m)}:${two(whole % 60)}` : `${m}:${two(whole % 60)}`;
};
const size = (bytes) => {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(0)} MiB`;
};

export class Servers {
  #nodes;
  #web;
  #command;
  #cards = new Map();
  #restless = { at: performance.now(), totals: new Map() };

  constructor(nodes, web, command) {
    this.#nodes = nodes;
    this.#web = web;
    this.#command = command;
  }

  // Shows it all, and returns what is to be said of the session's copies.
  show(state, history) {
    history.seen(state.server);
    const processes = new Map((state.control?.servers || []).map((server) => [server.name, server]));
    for (const node of state.nodes) {
      this.#showNode(node, state.copies.find((copy) => copy.node === node.name), processes.get(node.name), state);
    }
    const known = [...processes.values()].filter((server) => server.kind === "web").map((server) => server.name);
    const web = known.length ? known : history.names;
    for (const name of web) this.#showWeb(name, processes.get(name), history, state);
    const running = web.filter((name) => GOOD.includes(this.#card("web-card", this.#web, name, name).dataset.exact));
    return this.#copies(state, running, history);
  }

  // What is to be said of the copies. They may be alike while a web server does not know yet that a memcached is
  // back: then its next visit is written to the other one only. So they are called alike when they have been so for
  // some seconds, or while every web server has written twice.
  #copies(state, running, history) {
    if (!state.session) return "–";
    if (!state.nodes.length) return "in the web server's own memory";
    const live = state.copies.filter((copy) => copy.state === "live");
    const behind = live.filter((copy) => copy.version < Math.max(...live.map((other) => other.version))).length;
    if (behind || live.length < state.copies.length) {
      this.#restless = { at: performance.now(), totals: history.totals };
    }
    if (!live.length) return "none can be seen";
    const where = `${live.length} of ${state.copies.length}: on ${live.map((copy) => copy.node).join(" and ")}`;
    if (live.length < 2) return where;
    return `${where}, ${behind ? `${behind} behind` : this.#isCalm(running, history) ? "alike" : "settling"}`;
  }

  #isCalm(running, history) {
    const before = this.#restless.totals;
    const written = running.map((name) => (history.totals.get(name) ?? 0) - (before.get(name) ?? 0));
    const since = (performance.now() - this.#restless.at) / 1000;
    return since > CALM_S || (written.length > 0 && Math.min(...written) >= CALM_VISITS);
  }

  #showNode(node, copy, process, state) {
    const card = this.#card("node-card", this.#nodes, titleOf(node.name), node.name);
    badge(card, process?.state === "hangs" ? "hangs" : node.state);
    const problem = card.querySelector(".problem");
    problem.hidden = !node.problem;
    text(problem, node.problem);
    const line = card.querySelector(".copy");
    line.dataset.copy = copy ? copy.state : "none";
    text(line, copyOf(copy, node, state));
    const figures = {
      address: node.address,
      version: or(node.version, String),
      uptime: or(node.uptime_s, clock),
      memory: or(node.bytes, (used) => `${size(used)} of ${or(node.bytes_max, size)}, ${node.items} items`),
      hits: or(node.hit_rate, (rate) => `${(rate * 100).toFixed(1)} %`),
      evictions: or(node.evictions, String),
    };
    for (const [name, value] of Object.entries(figures)) text(card.querySelector(`[data-is=${name}]`), value);
    this.#buttons(card, "memcached", state.control?.token ? process : null);
  }

  #showWeb(name, process, history, state) {
    const card = this.#card("web-card", this.#web, name, name);
    // Nobody says what becomes of it but its answers, where no demo runs on this machine.
    badge(card, process ? process.state : history.silentFor(name) > UNSEEN_S ? "unseen" : "seen");
    const mark = card.querySelector(".mark");
    mark.className = `mark web-${history.colour(name)}`;
    text(mark, history.mark(name));
    const { own, all } = history.shareOf(name);
    text(card.querySelector(".answered"), `${own} of the last ${all} visits`);
    this.#buttons(card, "web", state.control?.token ? process : null);
  }

  #card(template, parent, title, name) {
    const key = `${template} ${name}`;
    if (!this.#cards.has(key)) {
      const card = document.getElementById(template).content.firstElementChild.cloneNode(true);
      card.dataset.name = name;
      card.querySelector(".name").textContent = title;
      card.setAttribute("aria-label", title);
      parent.append(card);
      this.#cards.set(key, card);
    }
    return this.#cards.get(key);
  }

  // There are none without a session, to which their token belongs.
  #buttons(card, kind, process) {
    const row = card.querySelector(".buttons");
    if (process && !row.children.length) {
      for (const [verb, label] of Object.entries(VERBS[kind])) row.append(this.#button(verb, label, card));
    }
    const possible = process ? POSSIBLE[process.state] || [] : [];
    const focused = row.contains(document.activeElement) ? document.activeElement : null;
    for (const button of row.children) button.hidden = !possible.includes(button.dataset.verb);
    if (focused?.hidden) row.querySelector("button:not([hidden])")?.focus();
  }

  #button(verb, label, card) {
    const { name } = card.dataset;
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.verb = verb;
    button.textContent = label;
    button.title = EXPLAINED[verb];
    button.setAttribute("aria-label", `${label} ${name}`);
    button.addEventListener("click", async () => {
      if (button.getAttribute("aria-busy") === "true") return;
      button.setAttribute("aria-busy", "true");
      notice(card, await this.#command(verb, name));
      button.removeAttribute("aria-busy");
    });
    return button;
  }
}

const titleOf = (node) => (/memcached/.test(node) ? node : `memcached ${node}`);

function badge(card, state) {
  card.dataset.state = GOOD.includes(state) ? "good" : SLOW.includes(state) ? "slow" : "bad";
  card.dataset.exact = state;
  text(card.querySelector(".badge"), STATES[state] || state);
}

// Says what has become of a command, for a while.
function notice(card, told) {
  const line = card.querySelector(".notice");
  text(line, told);
  setTimeout(() => { if (line.textContent === told) text(line, ""); }, NOTICE_MS);
}

// What a node has of the session, as a sentence.
function copyOf(copy, node, state) {
  if (!state.session) return "You have no session yet.";
  if (!copy) return "Your session does not belong here.";
  if (node.state === "refused") return "No copy of your session: a memcached that has ended holds nothing.";
  const known = {
    missing: "No copy of your session: it has forgotten it, or never got it.",
    silent: "Whether it has a copy of your session is not known.",
    ended: "It knows that your session has ended.",
    moved: "It knows that your session has another ID now.",
    unreadable: "What it has of your session cannot be read.",
    expired: "Its copy of your session has expired.",
  };
  if (copy.state !== "live") return known[copy.state] || copy.state;
  return `Your session, version ${copy.version}, ${copy.bytes} bytes. Ends in ${clock(copy.idle_left_s)}`
    + ` unless you come back, in ${clock(copy.absolute_left_s)} in any case.`;
}
