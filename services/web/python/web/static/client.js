// Talks to the server and remembers what it said about each job; knows nothing of the document.

/** How many of the person's own jobs are kept; the oldest go first. */
const OWN_KEPT = 100;
/** How many broadcast jobs are kept, finished and unfinished ones each. */
const BROADCAST_KEPT = 20;
/** How many ids of jobs that were taken off the list are remembered; the oldest go first. */
const REMOVED_KEPT = 200;
/** How many digits are kept in all. Beyond that, the oldest long values are dropped. */
const DIGITS_KEPT = 256 * 1024 * 1024;
/** A value with fewer digits than this is not worth dropping. */
const LONG_DIGITS = 10_000;

/** How many digits of each end are kept separately, as many as a preview has. */
const ENDS_DIGITS = 20;

/** The time for which a job is sent again. The server recognises a repeated id for two minutes. */
const PATIENCE_MS = 110_000;
/** A server that does not answer within this time counts as unreachable. */
const ANSWER_MS = 5_000;
const FIRST_RETRY_MS = 300;
const LONGEST_RETRY_MS = 8_000;

const FIRST_RECONNECT_MS = 250;
const LONGEST_RECONNECT_MS = 5_000;
/** The first pause after a server has gone away. A restart fits into it. */
const AWAY_MS = 2_000;
/** The pause after the server has refused the socket (wrong origin, too many sockets). */
const REFUSED_MS = 15_000;
/** An opening handshake that takes longer is abandoned. */
const OPENING_MS = 10_000;

const GOING_AWAY = 1001;
const POLICY_VIOLATION = 1008;
const TRY_AGAIN_LATER = 1013;

const STORED_CLIENT = "fibwire.client";
const STORED_JOBS = "fibwire.jobs";
const STORED_REMOVED = "fibwire.removed";

/** The answers after which the same job may be accepted a moment later, in words for a person. */
const PASSING = new Map([
  [429, "That was faster than the server allows."],
  [502, "The server is starting or away."],
  [503, "The queue takes no jobs at the moment."],
  [504, "The server took too long to answer."],
]);

/** One job, own or broadcast. Its fields are what its card shows. */
export class Job {
  /** `before`: a sequence number that lies before every event of this job. */
  constructor({ id, n, own, accepted = false, before = 0, seen = false, postingMs = null }) {
    Object.assign(this, { id, n, own, accepted, before, seen, postingMs });
  }

  /** "sending", "refused" (may be sent again), "queued", "computing", "done" or "failed". */
  state = "sending";
  /** A sentence for the person: why the job was not accepted yet, or why it failed. */
  note = "";
  /** When the job is sent again (`performance.now()`), or null. */
  retryAt = null;
  /** Whether the answer may have been pushed while nobody listened. */
  missed = false;
  attempt = 1;
  /** Between 0 and 1, or null while nothing is known. */
  fraction = null;
  digits = null;
  first = null;
  last = null;
  /** All digits, most significant first. Until the job is done, some may be missing. */
  parts = [];
  timings = null;
  /** Moments on this page's clock (`performance.now()`), or null where they did not happen here. */
  postedAt = null;
  acceptedAt = null;
  firstPartAt = null;
  receivedAt = null;
  /** Whether its card is up to date. */
  drawn = false;
  #partsReceived = 0;

  get finished() {
    return this.state === "done" || this.state === "failed";
  }

  /** Whether all digits are here. */
  get complete() {
    return this.state === "done" && this.parts.length > 0;
  }

  /** How many digits are held here. */
  get held() {
    return this.parts.reduce((sum, part) => sum + part.length, 0);
  }

  /** Takes in one event. Any event may come twice: after a reconnect the log is read again. */
  fold(event) {
    if (this.finished) return;
    this.n = event.n;
    this.accepted = true;
    this.missed = false;
    this.note = "";
    this.retryAt = null;
    if (this.own && !this.seen) {
      this.seen = true;
      this.before = event.seq - 1;
    }
    this.state = "computing";
    switch (event.type) {
      case "started":
        this.attempt = event.attempt;
        break;
      case "preview":
        ({ digits: this.digits, first: this.first, last: this.last } = event);
        break;
      case "progress":
        this.fraction = event.fraction;
        break;
      case "part":
        this.#collect(event);
        break;
      case "result":
        this.#finish(event);
        break;
      case "failed":
        this.state = "failed";
        this.note = event.reason;
        this.forget();
        break;
    }
  }

  /** Drops the digits. */
  forget() {
    this.parts = [];
    this.#partsReceived = 0;
  }

  #collect({ index, parts, value }) {
    this.firstPartAt ??= performance.now();
    if (index === 0) this.first ??= value.slice(0, ENDS_DIGITS);
    if (index === parts - 1) this.last ??= value.slice(-ENDS_DIGITS);
    if (this.parts[index] === undefined) this.#partsReceived += 1;
    this.parts[index] = value;
    this.fraction = this.#partsReceived / parts;
  }

  #finish({ digits, value, parts, timings }) {
    this.state = "done";
    this.receivedAt = performance.now();
    this.digits = digits;
    this.timings = timings;
    if (value !== undefined) {
      this.parts = [value];
      this.first = value.slice(0, ENDS_DIGITS);
      this.last = value.slice(-ENDS_DIGITS);
    } else if (this.#partsReceived !== parts) {
      this.forget();
      this.missed = true;
    }
  }
}

/** The jobs of this page, each found by its id, and the broadcast ones that pass by. */
export class Jobs {
  /** Own jobs, oldest first. */
  own = new Map();
  /** Finished broadcast jobs, oldest first. */
  broadcast = new Map();
  /** How many broadcast jobs have been seen in all. */
  broadcastCount = 0;
  #passing = new Map();
  /** Ids whose events may still come, and would otherwise be taken for broadcasts. */
  #removed = new Set(recall(STORED_REMOVED) ?? []);

  constructor() {
    for (const stored of recall(STORED_JOBS) ?? []) {
      const job = new Job({ ...stored, own: true });
      if (job.accepted) job.state = "queued";
      this.own.set(job.id, job);
    }
  }

  /** The sequence number after which every event of the own jobs lies, or null without jobs. */
  get before() {
    const all = [...this.own.values()].map((job) => job.before);
    return all.length === 0 ? null : Math.min(...all);
  }

  /** The own jobs without an end, also those that the server has not accepted yet. */
  get unfinished() {
    return [...this.own.values()].filter((job) => !job.finished);
  }

  get waiting() {
    return this.unfinished.filter((job) => job.accepted);
  }

  /** Notes a new own job; call this before it is posted. */
  add(id, n, before) {
    const job = new Job({ id, n, own: true, before });
    this.own.set(id, job);
    if (this.own.size > OWN_KEPT) {
      const all = [...this.own.values()];
      this.remove(all.find((other) => other.finished) ?? all[0]);
    }
    this.store();
    return job;
  }

  /** Takes an own job off the list. What still comes about it is ignored. */
  remove(job) {
    this.own.delete(job.id);
    this.#removed.add(job.id);
    dropOldest(this.#removed, REMOVED_KEPT);
    remember(STORED_REMOVED, [...this.#removed]);
    this.store();
  }

  /** Takes in one event and returns the job that it changed, or null. */
  fold(event) {
    const own = this.own.get(event.id);
    if (own === undefined && this.#removed.has(event.id)) return null;
    const job = own === undefined ? this.#foldBroadcast(event) : this.#foldOwn(own, event);
    if (event.type === "part" || job.finished) this.#forgetLong(job);
    return job;
  }

  /** Writes down what must survive a reload. */
  store() {
    const jobs = [...this.own.values()];
    remember(
      STORED_JOBS,
      jobs.map(({ id, n, accepted, before, seen, postingMs }) => ({ id, n, accepted, before, seen, postingMs })),
    );
  }

  #foldOwn(job, event) {
    const { seen, accepted } = job;
    job.fold(event);
    if (!seen || !accepted) this.store();
    return job;
  }

  #foldBroadcast(event) {
    if (this.broadcast.has(event.id)) return this.broadcast.get(event.id);
    const job = this.#passing.get(event.id) ?? new Job({ id: event.id, n: event.n, own: false });
    job.fold(event);
    if (job.finished) {
      this.#passing.delete(job.id);
      this.broadcast.set(job.id, job);
      this.broadcastCount += 1;
      dropOldest(this.broadcast, BROADCAST_KEPT);
    } else {
      this.#passing.set(job.id, job);
      dropOldest(this.#passing, BROADCAST_KEPT);
    }
    return job;
  }

  /** Drops the digits of other jobs than `current`, broadcasts first, until the rest fits. */
  #forgetLong(current) {
    const all = [...this.broadcast.values(), ...this.#passing.values(), ...this.own.values()];
    let digits = all.reduce((sum, job) => sum + job.held, 0);
    for (const job of all) {
      if (digits <= DIGITS_KEPT) return;
      if (job === current || job.held < LONG_DIGITS) continue;
      digits -= job.held;
      job.forget();
      job.missed = job.finished;
      job.drawn = false;
    }
  }
}

/** Posts one job until the server has judged it. */
export class Submission {
  #body;
  #onWait;
  #onResume;
  #endPause = () => {};
  #cancelled = false;

  /**
   * The id makes a repetition safe: the server queues it once. `onWait(detail, at)` is called with
   * the reason why the job was not accepted and the time of the next attempt, `onResume()` when that
   * attempt begins.
   */
  constructor({ id, n, client }, { onWait, onResume }) {
    this.#body = JSON.stringify({ n, client, id });
    this.#onWait = onWait;
    this.#onResume = onResume;
  }

  /**
   * Resolves to `{accepted: true, n}`, or to `{accepted: false, final, detail}`, where `final` says
   * that sending it again is of no use. Resolves to null once it is cancelled.
   */
  async send() {
    const started = performance.now();
    for (let attempt = 0; ; attempt += 1) {
      const answer = await post(this.#body);
      if (this.#cancelled) return null;
      if (answer.accepted || answer.final) return answer;
      const least = answer.retryAfterMs ?? Math.min(FIRST_RETRY_MS * 2 ** attempt, LONGEST_RETRY_MS);
      // Later by chance, so that those who were refused together do not come back together.
      const pause = least * (1 + Math.random() / 4);
      const at = performance.now() + pause;
      if (at - started > PATIENCE_MS) return answer;
      this.#onWait(answer.detail, at);
      await this.#pause(pause);
      if (this.#cancelled) return null;
      this.#onResume();
    }
  }

  /** Sends the job at once if it waits to be sent again. */
  wake() {
    this.#endPause();
  }

  /** Gives up; the job may have been queued all the same. */
  cancel() {
    this.#cancelled = true;
    this.#endPause();
  }

  #pause(ms) {
    return new Promise((resume) => {
      const timer = setTimeout(resume, ms);
      this.#endPause = () => {
        clearTimeout(timer);
        resume();
      };
    });
  }
}

/** A private socket that resumes after the last message it has seen, for as long as the page lives. */
export class Connection {
  #client;
  #mustReplay;
  #onMessage;
  #onState;
  #seq;
  #socket = null;
  #resumes = false;
  #failures = 0;
  /** Whether the server said that it goes away, and no other has been there since. */
  #away = false;
  #timer;

  /**
   * `since` is the sequence number to resume after, or null to start with what comes next.
   * `mustReplay()` says whether an answer may already lie in the log though nothing was read yet.
   * `onState(state, reason, at)` is called on every change, with the time of the next attempt or null.
   */
  constructor({ client, since, mustReplay, onMessage, onState }) {
    this.#client = client;
    this.#seq = since;
    this.#mustReplay = mustReplay;
    this.#onMessage = onMessage;
    this.#onState = onState;
    // When the network changes, the connection is lost, and no close frame says so.
    addEventListener("online", () => this.renew());
    addEventListener("offline", () => this.renew());
    addEventListener("pageshow", () => this.wake());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.wake();
    });
    this.#open();
  }

  /** The sequence number of the last message, or null before the first. */
  get seq() {
    return this.#seq;
  }

  /** Connects at once if the next attempt is still waiting. */
  wake() {
    if (this.#socket === null) this.#open();
  }

  /** Opens a new socket in place of the present one, which may be dead without our knowledge. */
  renew() {
    this.#drop();
    this.#open();
  }

  /**
   * Call this when a job has been noted and before it is posted: a socket that is still opening and
   * would start with what comes after must not miss the job's result.
   */
  expect() {
    if (this.#socket?.readyState === WebSocket.CONNECTING && !this.#resumes) this.renew();
    else this.wake();
  }

  #open() {
    clearTimeout(this.#timer);
    const since = this.#seq ?? (this.#mustReplay() ? 0 : null);
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ client: this.#client, ...(since !== null && { since }) });
    url.hash = "";

    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#resumes = since !== null;
    this.#onState(this.#failures === 0 ? "connecting" : "reconnecting", "", null);
    this.#timer = setTimeout(() => this.#lost(), OPENING_MS);
    socket.onopen = () => {
      clearTimeout(this.#timer);
      this.#failures = 0;
      this.#away = false;
      this.#onState("connected", "", null);
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.#seq = message.seq;
      this.#onMessage(message);
    };
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  #lost(code, reason) {
    this.#drop();
    const refused = code === POLICY_VIOLATION || code === TRY_AGAIN_LATER;
    const pause = (refused ? REFUSED_MS : this.#backOff(code)) * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#open(), pause);
    this.#onState(refused ? "refused" : "reconnecting", reason, performance.now() + pause);
  }

  /**
   * The longest pause before the next attempt. A server that goes away sends its clients away one after the
   * other. If there is no other one after the first pause, all of them are waiting for the same one. Then each
   * waits for as long as it ever does, so that they do not all come back in the same second.
   */
  #backOff(code) {
    if (this.#away) return LONGEST_RECONNECT_MS;
    this.#away = code === GOING_AWAY;
    if (this.#away) return AWAY_MS;
    return Math.min(FIRST_RECONNECT_MS * 2 ** this.#failures, LONGEST_RECONNECT_MS);
  }

  #drop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onmessage = socket.onclose = null;
    // Closing a socket that is still opening is an error in the browser's console.
    socket.onopen = () => socket.close();
    if (socket.readyState === WebSocket.OPEN) socket.close();
  }
}

/** The token of this tab's private channel; it survives a reload, but not the tab. */
export function clientToken() {
  const stored = recall(STORED_CLIENT);
  if (stored !== null) return stored;
  const token = randomHex(16);
  remember(STORED_CLIENT, token);
  return token;
}

/** A random UUID (version 4). `crypto.randomUUID` is missing on plain http beyond this machine. */
export function uuid() {
  const hex = [...randomHex(16)];
  hex[12] = "4";
  hex[16] = "89ab"[parseInt(hex[16], 16) % 4];
  return hex.join("").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

async function post(body) {
  let response;
  let answer;
  try {
    response = await fetch("fib", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body,
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    answer = await response.json().catch(() => null);
  } catch {
    return { accepted: false, final: false, detail: "The server cannot be reached." };
  }
  if (response.status === 202) return { accepted: true, n: answer?.n };
  const passing = PASSING.get(response.status);
  return {
    accepted: false,
    final: passing === undefined,
    detail: passing || answer?.detail || `The server answered with status ${response.status} and no reason.`,
    retryAfterMs: retryAfterMs(response.headers.get("Retry-After")),
  };
}

/** `Retry-After` in its form of whole seconds; undefined for anything else. */
function retryAfterMs(header) {
  return /^\d+$/.test(header ?? "") ? Number(header) * 1000 : undefined;
}

function randomHex(bytes) {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Shortens a Map or Set to its newest entries. */
function dropOldest(collection, kept) {
  while (collection.size > kept) collection.delete(collection.keys().next().value);
}

// A browser that forbids storage still gets a page that works until it is reloaded.

function recall(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key));
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    return;
  }
}
