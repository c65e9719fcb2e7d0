// Keeps one WebSocket open and knows up to where it has been read; does not know what a message says.

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** A server that asks us to go (a wrong origin, too many sockets) is left alone for so long. */
const REFUSED_PAUSE_MS = 15_000;
/** An opening handshake that takes longer is given up. */
const OPENING_MS = 10_000;

const POLICY_VIOLATION = 1008;
const TRY_AGAIN_LATER = 1013;

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
  #timer;

  /**
   * `since` is the sequence number to resume after, or null to start with what comes next.
   * `mustReplay()` says whether an answer may already lie in the log though nothing was read yet.
   */
  constructor({ client, since, mustReplay, onMessage, onState }) {
    this.#client = client;
    this.#seq = since;
    this.#mustReplay = mustReplay;
    this.#onMessage = onMessage;
    this.#onState = onState;
    // A network that comes or goes takes its connections along, and no close frame tells of it.
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

  /** Connects at once where a pause was being waited out. */
  wake() {
    if (this.#socket === null) this.#open();
  }

  /** Opens a new socket in place of the present one, which may be dead without our knowledge. */
  renew() {
    this.#drop();
    this.#open();
  }

  /**
   * To be called when a job has been noted and before it is posted: a socket that is still opening
   * and would start with what comes after must not miss its result.
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
    this.#onState(this.#failures === 0 ? "connecting" : "reconnecting");
    this.#timer = setTimeout(() => this.#lost(), OPENING_MS);
    socket.onopen = () => {
      clearTimeout(this.#timer);
      this.#failures = 0;
      this.#onState("connected");
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
    const backOff = Math.min(FIRST_PAUSE_MS * 2 ** this.#failures, LONGEST_PAUSE_MS);
    const pause = refused ? REFUSED_PAUSE_MS : backOff;
    this.#failures += 1;
    this.#onState(refused ? "refused" : "reconnecting", reason);
    this.#timer = setTimeout(() => this.#open(), pause * (0.5 + Math.random() / 2));
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
