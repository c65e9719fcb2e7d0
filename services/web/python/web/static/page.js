// The page: joins the form, the connection and the jobs, and shows each job as a card.

import { clientToken, Connection, Jobs, Submission, uuid } from "./client.js";

/** A card appears after this time even if the server has not judged its job yet. */
const UNJUDGED_MS = 200;
/** After a gap, an own job without news for this time counts as missed. */
const MISSED_MS = 3_000;
/** A socket that has brought nothing for this time, although a job is awaited, is renewed. */
const SILENCE_MS = 20_000;
/** How often a countdown is drawn. */
const TICK_MS = 250;
/** A pause that is shorter than this is not worth a countdown. */
const COUNTED_MS = 1_000;
/** How long a button says that it has done its work. */
const THANKS_MS = 1_500;
/** How long a download may take to read its digits. */
const DOWNLOAD_MS = 60_000;

/** A value with more digits scrolls in a view of its own, which is loaded when it is needed. */
const INLINE_DIGITS = 1_000;
/** A value with more digits is written in groups. */
const PLAIN_DIGITS = 20;
const GROUP_DIGITS = 10;
/** A value with more digits is not read out by a screen reader. */
const SPOKEN_DIGITS = 20;

const THIN_SPACE = "\u202f";
const LOG10_PHI = Math.log10((1 + Math.sqrt(5)) / 2);
const LOG10_SQRT5 = Math.log10(5) / 2;

/** One list of cards, newest first. */
class Cards {
  #list;
  #section;
  #actions;
  #cards = new Map();

  /** `section` holds the `ul` to fill and is hidden while that is empty. */
  constructor(section, actions) {
    this.#section = section;
    this.#list = section.querySelector("ul");
    this.#actions = actions;
  }

  /** Makes the list show exactly `jobs`, given oldest first; draws those again that are not `drawn`. */
  render(jobs) {
    for (const [job, card] of this.#cards) {
      if (jobs.get(job.id) === job) continue;
      card.remove();
      this.#cards.delete(job);
    }
    let older = null;
    for (const job of jobs.values()) {
      let card = this.#cards.get(job);
      if (card === undefined) {
        card = new Card(job, this.#actions);
        this.#cards.set(job, card);
        this.#list.insertBefore(card.element, older);
        card.draw();
      } else if (!job.drawn) {
        card.draw();
      }
      older = card.element;
    }
    this.#section.hidden = this.#cards.size === 0;
  }
}

/** Shows one job. */
class Card {
  element = document.querySelector("#card").content.firstElementChild.cloneNode(true);
  #job;
  #value;
  #journey;

  constructor(job, { again, remove }) {
    this.#job = job;
    this.#value = new Value(this.#part(".value"), this.#part("progress"));
    this.#journey = new Journey(this.#part(".journey"));
    this.element.dataset.id = job.id;
    const title = this.#part("h3");
    title.id = `title-${job.id}`;
    // "Copy" is heard together with what it copies.
    for (const button of this.element.querySelectorAll("button")) button.setAttribute("aria-describedby", title.id);
    this.#on("copy", async (button) => thank(button, (await copy(job.parts.join(""))) ? "Copied" : "Not allowed"));
    this.#on("download", () => download(job));
    this.#on("again", () => again(job));
    this.#on("remove", () => remove(job, this.element));
  }

  draw() {
    const job = this.#job;
    job.drawn = true;
    this.element.dataset.state = job.state;
    this.element.dataset.n = job.n;
    write(this.#part("h3"), `F(${grouped(job.n)})`);
    this.#value.draw(job);
    this.#journey.draw(job);

    const remark = this.#part(".note");
    if (job.state === "refused" || job.state === "failed") remark.setAttribute("role", "alert");
    else remark.removeAttribute("role");
    write(remark, note(job));
    write(this.#part(".facts"), facts(job));
    this.#drawButtons();
  }

  remove() {
    this.#value.destroy();
    this.element.remove();
  }

  #drawButtons() {
    const job = this.#job;
    const button = (name) => this.#part(`[name=${name}]`);
    button("copy").hidden = !job.complete;
    button("download").hidden = !job.complete || job.digits <= INLINE_DIGITS;
    const words = repetition(job);
    button("again").hidden = words === "";
    button("again").textContent = words;
    button("remove").hidden = !job.own;
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }

  #on(name, action) {
    this.#part(`[name=${name}]`).addEventListener("click", ({ currentTarget }) => action(currentTarget));
  }
}

/** The digits of one job, or an empty space of the size that they will need. */
class Value {
  #element;
  #progress;
  #shown = "";
  #view = null;

  /** `progress` is shown as long as `element` stands for many digits that are not here yet. */
  constructor(element, progress) {
    this.#element = element;
    this.#progress = progress;
  }

  draw(job) {
    this.#progress.setAttribute("aria-label", `Progress of F(${job.n})`);
    if (job.fraction === null) this.#progress.removeAttribute("value");
    else this.#progress.value = job.fraction;
    const kind = kindOf(job);
    if (kind === "view") {
      this.#load(job);
      return;
    }
    const shown = [kind, job.first, job.last, job.digits].join();
    if (shown !== this.#shown) this.#fill(kind, shown, job);
  }

  destroy() {
    this.#view?.destroy();
    this.#view = null;
  }

  #fill(kind, shown, job) {
    this.#begin(kind, shown);
    if (kind === "room") this.#element.append(...room(job.n));
    else if (kind === "digits") this.#element.append(...(job.digits > PLAIN_DIGITS ? groups(job.parts[0]) : job.parts));
    else if (kind === "ends" || kind === "lost") this.#element.append(...ends(job));
  }

  #begin(kind, shown) {
    this.destroy();
    this.#shown = shown;
    this.#element.dataset.kind = kind;
    this.#element.hidden = kind === "nothing";
    this.#progress.hidden = kind !== "ends";
    this.#element.replaceChildren();
  }

  async #load(job) {
    if (this.#shown === "view") return;
    // Until the view is loaded, the ends hold its place, so that nothing below moves when it comes.
    this.#fill("ends", "view", job);
    try {
      const { DigitsView } = await loadView();
      // Meanwhile the job may have been taken off the list, or its digits dropped.
      if (this.#shown !== "view" || !job.complete || !this.#element.isConnected) return;
      this.#begin("view", "view");
      this.#view = new DigitsView(this.#element, job.parts, `F(${grouped(job.n)})`, grouped);
    } catch {
      this.#fill("lost", "", job);
    }
  }
}

/** Draws where the time of one job goes: a lane for each clock, and all spans in words. */
class Journey {
  #details;
  #words;
  #steps;
  #clocks;
  #legs;

  constructor(details) {
    this.#details = details;
    this.#words = details.querySelector(".words");
    this.#steps = details.querySelector(".steps");
    this.#clocks = [...details.querySelectorAll("[data-clock]")];
    this.#legs = new Map([...details.querySelectorAll(".lane > *")].map((leg) => [leg.dataset.leg, leg]));
  }

  draw(job) {
    this.#details.hidden = job.state === "refused" || job.state === "failed" || job.missed;
    if (this.#details.hidden) return;
    const here = job.postedAt !== null && job.receivedAt !== null;
    write(this.#words, here ? `Journey, ${duration(microseconds(job.postedAt, job.receivedAt))}` : "Journey");
    write(this.#steps, job.finished ? "" : `: ${stepsTaken(job).join(", ")}`);
    this.#drawLanes(job);
    this.#drawSpans(job);
  }

  /** While the job is under way, the legs have set lengths; then each is as long as it took. */
  #drawLanes(job) {
    const steps = stepsTaken(job);
    const lengths = job.finished ? measuredLengths(job) : WAITING_LENGTHS;
    for (const [name, leg] of this.#legs) {
      const { from, to } = LEGS[name] ?? {};
      leg.style.flexGrow = lengths[name] ?? 0;
      leg.hidden = !lengths[name];
      leg.dataset.state = job.finished || steps.includes(to) ? "done" : steps.includes(from) ? "now" : "next";
    }
    const compute = this.#legs.get("compute");
    compute.style.setProperty("--fraction", job.finished || steps.includes("computed") ? 1 : job.fraction ?? 0);
  }

  #drawSpans(job) {
    const spans = job.finished ? measuredSpans(job) : expectedSpans(job);
    for (const [name, leg] of this.#legs) {
      const span = spans.find((candidate) => candidate.leg === name);
      leg.title = span === undefined ? "" : `${span.text}: ${span.us === null ? "…" : duration(span.us)}`;
    }
    for (const clock of this.#clocks) {
      const own = spans.filter(({ leg }) => LEGS[leg].clock === clock.dataset.clock);
      clock.hidden = own.length === 0;
      clock.querySelector("ul").replaceChildren(...own.map(spanItem));
    }
  }
}

function spanItem({ leg, text, us }) {
  const item = document.createElement("li");
  item.dataset.leg = leg;
  item.append(make("span", "", text), make("span", "", us === null ? "…" : duration(us)));
  return item;
}

/** Which steps each leg of the drawing leads from and to, and whose clock measures it. */
const LEGS = {
  post: { from: "posted", to: "accepted", clock: "browser" },
  wait: { from: "accepted", to: "receiving", clock: "browser" },
  receive: { from: "receiving", to: "received", clock: "browser" },
  queue: { from: "accepted", to: "taken", clock: "server" },
  compute: { from: "taken", to: "computed", clock: "server" },
};

/** The lengths of the legs before anything has been measured. */
const WAITING_LENGTHS = { post: 1, wait: 2, receive: 1, before: 1, queue: 1, compute: 1, after: 1 };

function stepsTaken(job) {
  const steps = ["posted"];
  if (job.accepted) steps.push("accepted");
  if (job.state === "computing") steps.push("taken");
  if (job.firstPartAt !== null) steps.push("computed", "receiving");
  return steps;
}

/** The spans of a job that is under way, of which the browser knows at most the first. */
function expectedSpans({ own, postingMs }) {
  const spans = [
    { leg: "queue", text: "Accepted to taken", us: null },
    { leg: "compute", text: "Taken to computed", us: null },
  ];
  if (!own) return spans;
  return [
    { leg: "post", text: "Posted to accepted", us: postingMs === null ? null : Math.round(postingMs * 1_000) },
    { leg: "wait", text: "Accepted to received", us: null },
    ...spans,
  ];
}

/** The spans of a finished job in microseconds. Each is measured by one clock, and none is a difference of two. */
function measuredSpans({ postedAt, acceptedAt, firstPartAt, receivedAt, postingMs, timings }) {
  const spans = [];
  const add = (leg, text, us) => spans.push({ leg, text, us });
  if (postingMs !== null) add("post", "Posted to accepted", Math.round(postingMs * 1_000));
  if (timings !== null) {
    add("queue", "Accepted to taken", timings.queued);
    add("compute", "Taken to computed", timings.computed);
  }
  const inTime = acceptedAt !== null && acceptedAt <= receivedAt;
  if (inTime && firstPartAt !== null && firstPartAt >= acceptedAt) {
    add("wait", "Accepted to first digits", microseconds(acceptedAt, firstPartAt));
    add("receive", "First digits to last digits", microseconds(firstPartAt, receivedAt));
  } else if (inTime) {
    add("wait", "Accepted to received", microseconds(acceptedAt, receivedAt));
  } else if (postedAt !== null) {
    // The result was pushed so quickly that it overtook the answer to the POST.
    add("wait", "Posted to received", microseconds(postedAt, receivedAt));
  }
  return spans;
}

/**
 * Both lanes on one scale. The server's clock ran between posting and receiving. Where in between is not known, since
 * the clocks are not compared, so its lane is in the middle.
 */
function measuredLengths(job) {
  const lengths = Object.fromEntries(measuredSpans(job).map(({ leg, us }) => [leg, Math.max(us, 1)]));
  const overtaken = job.acceptedAt !== null && job.acceptedAt > job.receivedAt;
  if (overtaken) delete lengths.post;
  const { post = 0, wait = 0, receive = 0, queue = 0, compute = 0 } = lengths;
  const browser = post + wait + receive;
  const server = queue + compute;
  const longest = Math.max(browser, server);
  const around = (longest - server) / 2;
  return { ...lengths, before: around, after: around, rest: longest - browser };
}

const form = document.querySelector("#ask");
const input = document.querySelector("#n");
const hint = document.querySelector("#hint");
const refusal = document.querySelector("#refusal");
const ownTitle = document.querySelector("#own-title");
const connectionState = document.querySelector("#connection");
const news = document.querySelector("#news");
const broadcastCount = document.querySelector("#broadcast .count");

const maxN = Number(document.querySelector("#max-n").textContent);
const client = clientToken();
const jobs = new Jobs();
const ownCards = new Cards(document.querySelector("#own"), { again: repeat, remove });
const broadcastCards = new Cards(document.querySelector("#broadcast"), { again: repeat, remove });

/** Own jobs whose card waits for the server's judgement. */
const unjudged = new Set();
/** The submissions that the server has not accepted or refused yet, by their jobs. */
const submissions = new Map();
let frame = null;
let ticking = null;
let nextAttemptAt = null;
let lastNews = performance.now();

document.querySelector("#max-n").textContent = grouped(maxN);
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
  // Spaces separate the groups of a number that was copied from somewhere, such as from the hint.
  const n = input.value.replace(/\s/g, "").replace(/^0+(?=\d)/, "");
  const wrong = whatIsWrong(n);
  refuse(wrong);
  if (wrong === "") ask(n);
  if (document.activeElement === input) input.select();
});
input.addEventListener("input", () => refuse(""));

/** A sentence for the person who typed `n`, or nothing if the server may be asked. */
function whatIsWrong(n) {
  const range = `Type a whole number from 0 to ${grouped(maxN)}.`;
  if (n === "") return range;
  if (/^\d+$/.test(n)) return Number(n) > maxN ? `That is too large. ${range}` : "";
  if (/^[-\u2212]\d+$/.test(n)) return `That is less than 0. ${range}`;
  return `That is not a whole number in digits. ${range}`;
}

function ask(n) {
  const job = jobs.add(uuid(), n, connection.seq ?? 0);
  if (expectedDigits(n) > INLINE_DIGITS) loadView().catch(() => {});
  unjudged.add(job);
  setTimeout(() => show(job), UNJUDGED_MS);
  connection.expect();
  post(job);
}

/** Sends a job again that was not accepted, or posts a new one if the answer was lost. */
function repeat(job) {
  const submission = submissions.get(job);
  if (submission !== undefined) {
    submission.wake();
  } else if (job.state === "refused") {
    job.state = "sending";
    job.note = "";
    show(job);
    connection.wake();
    post(job);
  } else {
    jobs.remove(job);
    ask(String(job.n));
  }
  // The button that was pressed disappears, so the keyboard focus goes to the list.
  ownTitle.focus();
}

function remove(job, card) {
  const neighbour = card.nextElementSibling ?? card.previousElementSibling;
  submissions.get(job)?.cancel();
  jobs.remove(job);
  render();
  (neighbour?.querySelector("[name=remove]") ?? input).focus();
}

async function post(job) {
  job.postedAt = performance.now();
  const submission = new Submission({ id: job.id, n: job.n, client }, {
    onWait(detail, at) {
      if (job.accepted) return;
      if (job.note === "") say(`F(${job.n}) is not accepted yet. It is sent again.`);
      Object.assign(job, { note: detail, retryAt: at });
      show(job);
      tick();
    },
    onResume() {
      job.retryAt = null;
      show(job);
    },
  });
  submissions.set(job, submission);
  const answer = await submission.send();
  submissions.delete(job);
  if (answer === null) return;
  job.retryAt = null;
  if (answer.accepted) {
    job.acceptedAt = performance.now();
    job.postingMs = job.acceptedAt - job.postedAt;
    lastNews = job.acceptedAt;
    Object.assign(job, { accepted: true, n: answer.n ?? job.n });
    if (job.state === "sending") Object.assign(job, { state: "queued", note: "" });
    jobs.store();
  } else if (!job.accepted && answer.final) {
    jobs.remove(job);
    refuse(answer.detail);
  } else if (!job.accepted) {
    Object.assign(job, { state: "refused", note: answer.detail });
  }
  show(job);
}

/** Takes in one message from the socket. */
function take(message) {
  lastNews = performance.now();
  if (message.type === "gap") {
    // The answer to a post can arrive after the gap that its result was lost in.
    const unfinished = jobs.unfinished;
    const known = unfinished.map(newsOf);
    setTimeout(() => doubt(unfinished, known), MISSED_MS);
    return;
  }
  const own = jobs.own.get(message.id);
  const wasFinished = own?.finished;
  const job = jobs.fold(message);
  if (job === null) return;
  if (message.type === "preview") loadView().catch(() => {});
  if (own?.state === "done" && !wasFinished) say(spoken(own));
  show(job);
}

/** Marks each accepted job that was posted before a gap, and of which no event came since, as missed. */
function doubt(unfinished, known) {
  for (const [index, job] of unfinished.entries()) {
    if (!job.accepted || job.finished || newsOf(job) !== known[index]) continue;
    job.missed = true;
    show(job);
  }
}

/** The progress of a job, as its events tell it. Its acceptance is not an event. */
function newsOf(job) {
  const begun = ["sending", "refused", "queued"].includes(job.state) ? "" : job.state;
  return `${begun} ${job.fraction}`;
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
  // The sentence takes the hint's place, so nothing below moves.
  hint.hidden = sentence !== "";
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

function showConnection(state, reason, at) {
  const words = {
    connecting: "Connecting…",
    connected: "Connected",
    reconnecting: "Reconnecting…",
    refused: reason || "The server refuses the connection.",
  };
  connectionState.dataset.state = state;
  write(connectionState.querySelector("[role=status]"), words[state]);
  nextAttemptAt = at !== null && at - performance.now() >= COUNTED_MS ? at : null;
  tick();
}

/** Draws the countdowns, and goes on as long as there are any. */
function tick() {
  clearTimeout(ticking);
  const waiting = [...submissions.keys()].filter((job) => job.retryAt !== null);
  for (const job of waiting) show(job);
  const next = nextAttemptAt === null ? "" : `Next try in ${secondsUntil(nextAttemptAt)} s`;
  write(connectionState.querySelector(".next"), next);
  if (waiting.length > 0 || nextAttemptAt !== null) ticking = setTimeout(tick, TICK_MS);
}

function secondsUntil(at) {
  return Math.max(Math.ceil((at - performance.now()) / 1_000), 1);
}

/** The view of a long number, which is loaded only when there is one. */
function loadView() {
  return import("./digits.js");
}

/** How the digits of `job` are shown. */
function kindOf(job) {
  const long = (job.digits ?? expectedDigits(job.n)) > INLINE_DIGITS;
  if (job.complete) return long ? "view" : "digits";
  if (job.state === "done") return "lost";
  if (job.missed || (job.state !== "queued" && job.state !== "computing")) return "nothing";
  return long ? "ends" : "room";
}

/** The number of digits of F(n), or nearly. */
function expectedDigits(n) {
  return Math.max(Math.floor(n * LOG10_PHI - LOG10_SQRT5) + 1, 1);
}

/** A number in groups; the text of all of them is the number alone. */
function groups(digits) {
  const count = Math.ceil(digits.length / GROUP_DIGITS);
  return Array.from({ length: count }, (_, index) =>
    make("span", "group", digits.slice(index * GROUP_DIGITS, (index + 1) * GROUP_DIGITS)),
  );
}

/** An empty space of the size that the digits of F(n) take. */
function room(n) {
  const digits = expectedDigits(n);
  return digits <= PLAIN_DIGITS ? [make("span", "group")] : groups(" ".repeat(digits));
}

/** The first and last digits of a job, as far as they are known. */
function ends({ first, last }) {
  if (!first || !last) return [];
  const [beginning, end] = [make("span", "end"), make("span", "end")];
  beginning.append(...groups(first), "…");
  end.append(...groups(last));
  return [beginning, end];
}

function note(job) {
  if (job.missed) {
    return job.state === "done"
      ? "Its digits are no longer here."
      : "Its answer may have been missed: the server no longer holds all that it sent in the meantime.";
  }
  switch (job.state) {
    case "sending":
      if (job.note === "") return "Sending";
      return `${job.note} Trying again${job.retryAt === null ? "…" : ` in ${secondsUntil(job.retryAt)} s.`}`;
    case "queued":
      return "Queued";
    case "computing": {
      const what = job.parts.length > 0 ? "Receiving" : "Computing";
      const percent = job.fraction === null ? "" : `, ${Math.floor(job.fraction * 100)} %`;
      return what + percent + (job.attempt > 1 ? `, attempt ${job.attempt}` : "");
    }
    default:
      return job.note;
  }
}

function facts(job) {
  if (job.state !== "done") return "";
  return `${count(job.digits)} · computed in ${duration(job.timings.computed)}`;
}

/** The label of the button that sends a job again, or an empty text if there is nothing to send. */
function repetition(job) {
  if (!job.own) return "";
  if (job.state === "sending" && job.retryAt !== null) return "Try now";
  if (job.state === "refused") return "Try again";
  return job.missed || job.state === "failed" ? "Ask again" : "";
}

/** The words of a screen reader when `job` is done. */
function spoken(job) {
  const short = job.complete && job.digits <= SPOKEN_DIGITS;
  return short ? `F(${job.n}) is ${job.parts[0]}.` : `F(${job.n}) is ready, ${count(job.digits)}.`;
}

function count(digits) {
  return digits === 1 ? "1 digit" : `${grouped(digits)} digits`;
}

/** A whole number for people, in groups of three from five digits on; any other text unchanged. */
function grouped(number) {
  const text = String(number);
  return /^\d{5,20}$/.test(text) ? text.replace(/\B(?=(\d{3})+$)/g, THIN_SPACE) : text;
}

function microseconds(from, to) {
  return Math.round((to - from) * 1_000);
}

function duration(us) {
  if (us < 1_000) return `${us} µs`;
  if (us < 1_000_000) return `${threeDigits(us / 1_000)} ms`;
  if (us < 60_000_000) return `${threeDigits(us / 1_000_000)} s`;
  const seconds = Math.round(us / 1_000_000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** A number of at least 1 with as many decimals as three digits leave room for. */
function threeDigits(number) {
  return number.toFixed(number < 10 ? 2 : number < 100 ? 1 : 0);
}

/** Sets a text, and hides the element if the text is empty. Unchanged text is left alone, and so is a selection in it. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
}

function make(name, className, text = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
}

async function copy(text) {
  if (navigator.clipboard !== undefined) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  // Plain http beyond this machine has no clipboard object, only the old command.
  const onCopy = (event) => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  };
  document.addEventListener("copy", onCopy, { once: true });
  const copied = document.execCommand("copy");
  document.removeEventListener("copy", onCopy);
  return copied;
}

function download(job) {
  const url = URL.createObjectURL(new Blob(job.parts, { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `fibonacci-${job.n}.txt`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), DOWNLOAD_MS);
}

function thank(button, words) {
  const usual = "Copy";
  button.textContent = words;
  setTimeout(() => {
    button.textContent = usual;
  }, THANKS_MS);
}
