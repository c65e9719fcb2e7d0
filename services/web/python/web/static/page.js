// The page: joins the form, the socket, the jobs and their cards. Each of them is a module beside this one.

import { Cards, grouped, spoken } from "./cards.js";
import { clientToken, Jobs, uuid } from "./jobs.js";
import { Connection } from "./socket.js";
import { submit } from "./submit.js";

/** A card for a job that the server has not judged yet appears after so long, a refusal being quicker. */
const UNJUDGED_MS = 200;
/** After a gap, an own job without news for so long is taken for missed. */
const MISSED_MS = 3_000;
/** A socket that brought nothing for so long while a job is waited for is renewed. */
const SILENCE_MS = 20_000;

const form = document.querySelector("#ask");
const input = document.querySelector("#n");
const refusal = document.querySelector("#refusal");
const ownTitle = document.querySelector("#own-title");
const connectionState = document.querySelector("#connection");
const news = document.querySelector("#news");
const broadcastCount = document.querySelector("#broadcast .count");

const client = clientToken();
const jobs = new Jobs();
const ownCards = new Cards(document.querySelector("#own"), askAgain);
const broadcastCards = new Cards(document.querySelector("#broadcast"), askAgain);

/** Own jobs whose card waits for the server's judgement. */
const unjudged = new Set();
let frame = null;
let lastNews = performance.now();

const connection = new Connection({
  client,
  since: jobs.before,
  mustReplay: () => jobs.own.size > 0,
  onMessage: take,
  onState: showConnection,
});

for (const job of jobs.own.values()) {
  show(job);
  if (!job.accepted) post(job);
}
setInterval(watch, SILENCE_MS / 4);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  refuse("");
  ask(input.value);
  if (document.activeElement === input) input.select();
});
input.addEventListener("input", () => refuse(""));

function ask(n) {
  const job = jobs.add(uuid(), n, connection.seq ?? 0);
  unjudged.add(job);
  setTimeout(() => show(job), UNJUDGED_MS);
  connection.expect();
  post(job);
}

function askAgain(job) {
  if (job.state === "refused") {
    job.state = "sending";
    job.note = "";
    show(job);
    connection.wake();
    post(job);
  } else {
    jobs.remove(job);
    ask(String(job.n));
  }
  // The button that was pressed is gone, and with it the place of who uses the keyboard.
  ownTitle.focus();
}

async function post(job) {
  const answer = await submit({ id: job.id, n: job.n, client }, (detail) => {
    if (job.accepted) return;
    job.note = detail;
    show(job);
  });
  if (job.finished || job.state === "computing") return;
  if (answer.accepted) {
    Object.assign(job, { accepted: true, n: answer.n, state: "queued", note: "" });
    lastNews = performance.now();
    jobs.store();
  } else if (answer.final) {
    jobs.remove(job);
    refuse(answer.detail);
  } else {
    job.state = "refused";
    job.note = answer.detail;
  }
  show(job);
}

/** Takes in one message from the socket. */
function take(message) {
  lastNews = performance.now();
  if (message.type === "gap") {
    const waiting = jobs.waiting;
    const known = waiting.map(newsOf);
    setTimeout(() => doubt(waiting, known), MISSED_MS);
    return;
  }
  const own = jobs.own.get(message.id);
  const wasFinished = own?.finished;
  const job = jobs.fold(message);
  if (own?.state === "done" && !wasFinished) say(spoken(own));
  show(job);
}

/** Says of each job that was waited for before a gap, and of which nothing came since, that it may be lost. */
function doubt(waiting, known) {
  for (const [index, job] of waiting.entries()) {
    if (job.finished || newsOf(job) !== known[index]) continue;
    job.missed = true;
    show(job);
  }
}

function newsOf(job) {
  return `${job.state} ${job.fraction}`;
}

/** A socket can be dead for long without either end knowing; reading the log again costs little. */
function watch() {
  if (jobs.waiting.length === 0 || performance.now() - lastNews < SILENCE_MS) return;
  lastNews = performance.now();
  connection.renew();
}

function show(job) {
  unjudged.delete(job);
  job.drawn = false;
  frame ??= requestAnimationFrame(render);
}

function render() {
  frame = null;
  const judged = new Map([...jobs.own].filter(([, job]) => !unjudged.has(job)));
  ownCards.render(judged);
  broadcastCards.render(jobs.broadcast);
  broadcastCount.textContent = jobs.broadcastCount === 0 ? "" : grouped(jobs.broadcastCount);
}

function refuse(sentence) {
  refusal.textContent = sentence;
  if (sentence === "") {
    input.removeAttribute("aria-invalid");
  } else {
    input.setAttribute("aria-invalid", "true");
    input.focus();
    input.select();
  }
}

function say(sentence) {
  news.textContent = sentence;
}

function showConnection(state, reason) {
  const words = {
    connecting: "Connecting…",
    connected: "Connected",
    reconnecting: "Reconnecting…",
    refused: reason || "The server refuses the connection",
  };
  connectionState.dataset.state = state;
  if (connectionState.textContent !== words[state]) connectionState.textContent = words[state];
}
