// What is known of each job, folded from the events about it, and what of that outlives a reload.

/** As many of the own jobs are kept; the oldest go first. */
const OWN_KEPT = 100;
/** As many broadcast jobs are kept, finished and unfinished ones each. */
const BROADCAST_KEPT = 20;
/** Bytes of long values that are kept; beyond, the oldest can no longer be copied or downloaded. */
const LONG_BYTES = 512 * 1024 * 1024;

const STORED_CLIENT = "fibwire.client";
const STORED_JOBS = "fibwire.jobs";

/** One job, own or broadcast. Its fields are what its card shows. */
export class Job {
  /** `before`: a sequence number that lies before every event of this job. */
  constructor({ id, n, own, accepted = false, before = 0, seen = false }) {
    Object.assign(this, { id, n, own, accepted, before, seen });
  }

  /** "sending", "refused" (may be sent again), "queued", "computing", "done" or "failed". */
  state = "sending";
  /** A sentence for the person: why the job is not through, or why it failed. */
  note = "";
  /** The answer may have been pushed while nobody listened. */
  missed = false;
  attempt = 1;
  /** Between 0 and 1, or null while nothing is known. */
  fraction = null;
  digits = null;
  first = null;
  last = null;
  /** All digits, when there are few enough for one message. */
  value = null;
  /** All digits of a long result: a Blob per part, then one Blob. */
  parts = [];
  blob = null;
  timings = null;
  /** Its card shows it as it is. */
  drawn = false;

  get finished() {
    return this.state === "done" || this.state === "failed";
  }

  /** Takes in one event. Any event may come twice: after a reconnect the log is read again. */
  fold(event) {
    if (this.finished) return;
    this.n = event.n;
    this.accepted = true;
    this.missed = false;
    this.note = "";
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
        this.parts = [];
        break;
    }
  }

  #collect({ index, parts, value }) {
    if (index === 0) this.first ??= value.slice(0, 20);
    if (index === parts - 1) this.last ??= value.slice(-20);
    this.parts[index] = new Blob([value]);
    this.fraction = this.parts.filter(Boolean).length / parts;
  }

  #finish({ digits, value, parts, timings }) {
    this.state = "done";
    this.digits = digits;
    this.timings = timings;
    if (value !== undefined) {
      this.value = value;
      return;
    }
    const collected = this.parts.filter(Boolean);
    this.parts = [];
    if (collected.length === parts) this.blob = new Blob(collected, { type: "text/plain" });
    else this.missed = true;
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

  get waiting() {
    return [...this.own.values()].filter((job) => job.accepted && !job.finished);
  }

  /** Notes a new own job, to be called before it is posted. */
  add(id, n, before) {
    const job = new Job({ id, n, own: true, before });
    this.own.set(id, job);
    if (this.own.size > OWN_KEPT) {
      const oldest = [...this.own.values()].find((other) => other.finished) ?? this.own.values().next().value;
      this.own.delete(oldest.id);
    }
    this.store();
    return job;
  }

  remove(job) {
    this.own.delete(job.id);
    this.store();
  }

  /** Takes in one event and returns the job that it changed. */
  fold(event) {
    const job = this.own.get(event.id);
    if (job !== undefined) {
      const { seen, accepted } = job;
      job.fold(event);
      if (!seen || !accepted) this.store();
      if (job.finished) this.#forgetLong();
      return job;
    }
    return this.#foldBroadcast(event);
  }

  /** Writes down what a reload must not lose. */
  store() {
    const jobs = [...this.own.values()];
    remember(STORED_JOBS, jobs.map(({ id, n, accepted, before, seen }) => ({ id, n, accepted, before, seen })));
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
      this.#forgetLong();
    } else {
      this.#passing.set(job.id, job);
      dropOldest(this.#passing, BROADCAST_KEPT);
    }
    return job;
  }

  #forgetLong() {
    const holders = [...this.own.values(), ...this.broadcast.values()].filter((job) => job.blob !== null);
    let bytes = holders.reduce((sum, job) => sum + job.blob.size, 0);
    for (const job of holders.sort((a, b) => Number(a.own) - Number(b.own))) {
      if (bytes <= LONG_BYTES) return;
      bytes -= job.blob.size;
      job.blob = null;
      job.missed = true;
      job.drawn = false;
    }
  }
}

/** The token of this tab's private channel; it survives a reload, not the tab. */
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

function randomHex(bytes) {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function dropOldest(map, kept) {
  while (map.size > kept) map.delete(map.keys().next().value);
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
