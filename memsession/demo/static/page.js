// The page's beat: it looks at the pool twice a second, and visits once a second while that is switched on. Of each
// kind one request at most is under way, and whatever becomes of it, there is a next one, which another web server
// may answer. Three requests a second, not two: else, of two web servers that take turns, one would have all visits.

import { History } from "./history.js";
import { Servers } from "./servers.js";

const BEAT_MS = 500;
const PATIENCE_MS = 6000;
const COMMAND_PATIENCE_MS = 45000;
const WAITING_MAX = 5;
const NOBODY = "No web server answers; trying again.";

const at = (id) => document.getElementById(id);

const history = new History(at("history"), at("summary"));
const servers = new Servers(at("nodes"), at("web"), command);

let token = "";

// --- what is said on top: the first of these that there is -------------------------------------------------------

const troubles = { looking: "", visiting: "" };

function say(which, text) {
  troubles[which] = text;
  const shown = troubles.looking || troubles.visiting;
  if (at("message").textContent !== shown) at("message").textContent = shown;
}

// --- requests ----------------------------------------------------------------------------------------------------

class Unanswered extends Error {}

async function ask(path, options = {}, patience = PATIENCE_MS, read = (response) => response.json()) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(patience), ...options });
  } catch (error) {
    throw new Unanswered(error.name === "TimeoutError" ? "no answer in time" : "no answer");
  }
  if (response.ok || (response.headers.get("content-type") || "").startsWith("application/json")) {
    try {
      return await read(response);
    } catch {
      throw new Unanswered("the answer cannot be read");
    }
  }
  // A proxy without web servers says so in HTML; the session middleware without memcached, in plain text.
  const proxy = (response.headers.get("content-type") || "").startsWith("text/html");
  throw new Unanswered(response.status === 503 && !proxy ? "no memcached" : "no web server");
}

// --- looking -----------------------------------------------------------------------------------------------------

let looking = null;

function look() {
  looking ??= lookOnce().finally(() => { looking = null; });
  return looking;
}

async function lookOnce() {
  try {
    const state = await ask("pool/state");
    token = state.control ? state.control.token : "";
    at("session").textContent = state.session || "none yet";
    at("hint").textContent = state.hint;
    at("hint").hidden = !state.hint;
    at("copies").textContent = servers.show(state, history);
    document.body.dataset.looked = Number(document.body.dataset.looked || 0) + 1;
    document.body.classList.remove("stale");
    say("looking", "");
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    document.body.classList.add("stale");
    say("looking", NOBODY);
  }
}

// --- visiting ----------------------------------------------------------------------------------------------------

let queue = Promise.resolve();
let waiting = 0;

function visit() {
  if (waiting >= WAITING_MAX) return queue;
  changeWaiting(+1);
  queue = queue.then(visitOnce).finally(() => changeWaiting(-1));
  return queue;
}

function changeWaiting(more) {
  waiting += more;
  document.body.dataset.waiting = waiting;
}

// The counter's own page, as anybody visits it: it says how many visits there were before, and who answered.
async function readCount(response) {
  const page = await response.text();
  const [, server] = /^Server IP: \S+ \((.*)\)$/m.exec(page);
  const before = /^This server has seen you (\d+) times$/m.exec(page);
  return { count: before ? Number(before[1]) + 1 : 1, server };
}

async function visitOnce() {
  const began = performance.now();
  try {
    const { count, server } = await ask("session.php", {}, PATIENCE_MS, readCount);
    history.answered(count, server, performance.now() - began);
    at("count").textContent = count;
    at("server").textContent = server;
    say("visiting", "");
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    history.failed(error.message, performance.now() - began);
    say("visiting", error.message === "no memcached"
      ? "No memcached of your session answers, so this visit was not counted. Start one."
      : "A visit got no answer; trying again.");
  }
}

// --- commands ----------------------------------------------------------------------------------------------------

const DONE = {
  start: "runs", stop: "is stopped", kill: "is killed", hang: "hangs", continue: "goes on", empty: "is empty now",
};

// Returns what is to be said of it, when the page shows what has become of the server.
async function command(verb, name) {
  let told;
  try {
    const { error } = await ask("pool/control", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ verb, name, token }),
    }, COMMAND_PATIENCE_MS);
    told = error || `${name} ${DONE[verb]}.`;
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    told = "The demo did not answer; see whether it happened.";
  }
  // The first look may have been under way before.
  await look();
  await look();
  return told;
}

at("visit").addEventListener("click", visit);

let beats = 0;

function beat() {
  // Not at the same moment: copies are not alike while they are written.
  if (beats % 2 === 0 && at("automatic").checked && waiting === 0) visit().then(look);
  else look();
  beats += 1;
}

beat();
setInterval(beat, BEAT_MS);
