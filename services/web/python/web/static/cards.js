// Shows jobs as cards, newest first, at most once per animation frame; holds no state but the cards.

/** A value of more digits is shown by its ends and can be copied or downloaded. */
const INLINE_DIGITS = 10_000;
/** A value of more digits scrolls inside its card. */
const SCROLL_DIGITS = 2_000;
/** A value of more digits is not read out by a screen reader. */
const SPOKEN_DIGITS = 20;
/** How long a button says that it has done what it was asked for. */
const THANKS_MS = 1_500;

const THIN_SPACE = "\u202f";

/** The cards of one list. */
export class Cards {
  #list;
  #section;
  #onAgain;
  #cards = new Map();

  /** `section` holds the `ul` to fill and is hidden while that is empty. */
  constructor(section, onAgain) {
    this.#section = section;
    this.#list = section.querySelector("ul");
    this.#onAgain = onAgain;
  }

  /** Makes the list show exactly `jobs`, given oldest first; draws anew those that are not `drawn`. */
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
        card = this.#add(job);
        this.#list.insertBefore(card, older);
      } else if (!job.drawn) {
        draw(card, job);
      }
      older = card;
    }
    this.#section.hidden = this.#cards.size === 0;
  }

  #add(job) {
    const card = document.querySelector("#card").content.firstElementChild.cloneNode(true);
    card.dataset.id = job.id;
    const on = (name, action) => card.querySelector(`[name=${name}]`).addEventListener("click", action);
    on("copy", async ({ currentTarget: button }) => {
      const copied = await copy(job.value ?? (await job.blob.text()));
      thank(button, copied ? "Copied" : "Not allowed");
    });
    on("download", () => download(job));
    on("again", () => this.#onAgain(job));
    this.#cards.set(job, card);
    draw(card, job);
    return card;
  }
}

/** What a screen reader says when `job` is done. */
export function spoken(job) {
  const short = job.value !== null && job.value.length <= SPOKEN_DIGITS;
  return short ? `F(${job.n}) is ${job.value}.` : `F(${job.n}) is ready, ${count(job.digits)}.`;
}

/** A whole number for people, in groups of three from five digits on; any other text unchanged. */
export function grouped(number) {
  const text = String(number);
  return /^\d{5,20}$/.test(text) ? text.replace(/\B(?=(\d{3})+$)/g, THIN_SPACE) : text;
}

function draw(card, job) {
  job.drawn = true;
  card.dataset.state = job.state;
  card.dataset.n = job.n;
  write(card.querySelector("h3"), `F(${grouped(job.n)})`);
  drawValue(card.querySelector(".value"), job);

  const progress = card.querySelector("progress");
  progress.hidden = job.finished || job.state === "refused" || job.missed;
  progress.setAttribute("aria-label", `Progress of F(${job.n})`);
  if (job.fraction === null) progress.removeAttribute("value");
  else progress.value = job.fraction;

  const remark = card.querySelector(".note");
  if (job.state === "refused" || job.state === "failed") remark.setAttribute("role", "alert");
  else remark.removeAttribute("role");
  write(remark, note(job));
  write(card.querySelector(".facts"), facts(job));

  const buttons = card.querySelector(".actions").children;
  buttons.copy.hidden = job.value === null && job.blob === null;
  buttons.download.hidden = job.blob === null && !(job.value?.length > INLINE_DIGITS);
  buttons.again.hidden = !job.own || !(job.missed || job.state === "refused" || job.state === "failed");
  buttons.again.textContent = job.state === "refused" ? "Try again" : "Ask again";
  for (const button of buttons) button.setAttribute("aria-describedby", titleId(card, job));
}

/** Links a button to its card's title, so that "Copy" is heard with what it copies. */
function titleId(card, job) {
  const title = card.querySelector("h3");
  title.id = `title-${job.id}`;
  return title.id;
}

function drawValue(element, job) {
  const inline = job.value !== null && job.value.length <= INLINE_DIGITS;
  const first = job.first ?? job.value?.slice(0, 20);
  const last = job.last ?? job.value?.slice(-20);
  if (inline) write(element, job.value);
  else write(element, first && last ? `${first}…${last}` : "");
  const scrolls = inline && job.value.length > SCROLL_DIGITS;
  element.classList.toggle("scrolls", scrolls);
  if (scrolls) {
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", `All digits of F(${job.n})`);
  }
}

function note(job) {
  if (job.missed) {
    return job.state === "done"
      ? "Its digits are no longer held here."
      : "Its answer may have been missed: the server no longer holds all that it sent meanwhile.";
  }
  switch (job.state) {
    case "sending":
      return job.note === "" ? "Sending" : `${job.note} Trying again…`;
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
  const known = [];
  if (job.digits !== null) known.push(count(job.digits));
  if (job.timings !== null) {
    known.push(`computed in ${duration(job.timings.computed)}`, `queued for ${duration(job.timings.queued)}`);
  }
  return known.join(" · ");
}

function count(digits) {
  return digits === 1 ? "1 digit" : `${grouped(digits)} digits`;
}

function duration(micros) {
  if (micros < 1_000) return `${micros} µs`;
  if (micros < 1_000_000) return `${(micros / 1_000).toPrecision(3)} ms`;
  if (micros < 60_000_000) return `${(micros / 1_000_000).toPrecision(3)} s`;
  const seconds = Math.round(micros / 1_000_000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Sets a text and hides what has none. Unchanged text is left alone: a selection in it stays. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
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
  const url = URL.createObjectURL(job.blob ?? new Blob([job.value], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `fibonacci-${job.n}.txt`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function thank(button, words) {
  const usual = "Copy";
  button.textContent = words;
  setTimeout(() => {
    button.textContent = usual;
  }, THANKS_MS);
}
