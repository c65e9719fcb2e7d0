// Shows a long number in rows, of which only those near the visible ones are in the document.

const GROUP_DIGITS = 10;
/** How many groups a row may have, so that the numbers of the rows are round. */
const GROUPS_PER_ROW = [10, 5, 2, 1];
/** How many rows are kept above and below the visible ones, for screen readers and selections. */
const ROWS_AROUND = 10;
/** Browsers limit an element's height, some to less than 18 million pixels. */
const TALLEST_PX = 8_000_000;
/** Within this distance of either end, a scaled scrollbar moves the rows pixel by pixel. */
const EDGE_PX = 50_000;
/** On a scaled scrollbar, a wheel, finger or key moves by less at a time, and a drag by more. */
const FINE_PX = TALLEST_PX / 1_000;
/** In a browser that does not report the end of scrolling, a pause of this length counts as the end. */
const SETTLED_MS = 150;

/** A number, held as the pieces in which it arrived; they are never joined. */
class Digits {
  #parts;
  #starts = [];
  length = 0;

  constructor(parts) {
    this.#parts = parts;
    for (const part of parts) {
      this.#starts.push(this.length);
      this.length += part.length;
    }
  }

  /** The digits from place `from` (0 is the most significant) up to, but not including, place `to`. */
  slice(from, to) {
    let text = "";
    for (let index = this.#partOf(from); index < this.#parts.length && this.#starts[index] < to; index += 1) {
      const start = this.#starts[index];
      text += this.#parts[index].slice(Math.max(from - start, 0), to - start);
    }
    return text;
  }

  /** The index of the part that holds a place. */
  #partOf(place) {
    let low = 0;
    let high = this.#parts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle] <= place) low = middle;
      else high = middle;
    }
    return low;
  }
}

/**
 * Maps positions of the scrollbar to positions in a number that may be taller than any element.
 * Equal distances from an end are equal on both within `EDGE_PX`; between, the scrollbar is scaled.
 */
class Scale {
  #barMax;
  #topMax;
  #slope;

  /** `barMax` and `topMax` are the greatest positions, in pixels. */
  constructor(barMax, topMax) {
    this.#barMax = barMax;
    this.#topMax = topMax;
    this.#slope = topMax > barMax ? (topMax - 2 * EDGE_PX) / (barMax - 2 * EDGE_PX) : 1;
  }

  get scaled() {
    return this.#slope !== 1;
  }

  toTop(bar) {
    if (!this.scaled || bar <= EDGE_PX) return bar;
    if (bar >= this.#barMax - EDGE_PX) return this.#topMax - (this.#barMax - bar);
    return EDGE_PX + (bar - EDGE_PX) * this.#slope;
  }

  toBar(top) {
    if (!this.scaled || top <= EDGE_PX) return top;
    if (top >= this.#topMax - EDGE_PX) return this.#barMax - (this.#topMax - top);
    return EDGE_PX + (top - EDGE_PX) / this.#slope;
  }
}

/** A scrolling view of a number, with a field to go to a digit. */
export class DigitsView {
  #digits;
  #grouped;
  #element = document.createElement("div");
  #viewport = make("div", "viewport");
  #height = make("div", "height");
  #window = make("div", "window");
  #lines = make("div", "lines");
  #field = document.createElement("input");
  #answer = make("output", "answer");
  #observer = new ResizeObserver(() => this.#measure());
  #settling;
  /** Whether the scrollbar is not where it belongs, because the rows moved as far as it did. */
  #unsettled = false;

  /** The rows that are in the document, by their number. */
  #rows = new Map();
  #rowCount = 0;
  #rowDigits = 0;
  #rowPx = 0;
  #widthPx = 0;
  #visiblePx = 0;
  /** The exact position, in pixels from the beginning of the number. */
  #top = 0;
  #topMax = 0;
  /** The place of the digit that stays at the top when the width changes. */
  #anchor = 0;
  /** The scrollbar's position when it was last read. */
  #bar = 0;
  #scale = new Scale(0, 0);
  /** The place of the digit that was asked for, or null. */
  #marked = null;

  /** `title` names the number; `grouped` writes a whole number for people. */
  constructor(container, parts, title, grouped) {
    this.#digits = new Digits(parts);
    this.#grouped = grouped;
    this.#build(title);
    container.replaceChildren(this.#element);
    this.#observer.observe(this.#viewport);
    this.#measure();
  }

  /** Removes the view and releases the number. */
  destroy() {
    clearTimeout(this.#settling);
    this.#observer.disconnect();
    this.#element.remove();
  }

  #build(title) {
    const length = this.#grouped(this.#digits.length);
    this.#element.className = "digits";
    // The widest number of a row is about as wide as that of the last digit.
    this.#element.style.setProperty("--place-width", `${length.length}ch`);

    this.#viewport.tabIndex = 0;
    this.#viewport.setAttribute("role", "group");
    this.#viewport.setAttribute("aria-label", `All digits of ${title}`);
    this.#viewport.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#viewport.addEventListener("scrollend", () => this.#settle());
    this.#viewport.addEventListener("keydown", (event) => this.#pressed(event));
    this.#viewport.addEventListener("copy", copyDigitsAlone);
    this.#window.append(this.#lines);
    this.#height.append(this.#window);
    this.#viewport.append(this.#height);

    const label = make("label", "", "Go to digit");
    this.#field.type = "text";
    this.#field.inputMode = "numeric";
    this.#field.autocomplete = "off";
    this.#field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#find();
    });
    label.append(this.#field);
    const go = make("button", "", "Go");
    go.type = "button";
    go.addEventListener("click", () => this.#find());
    const tools = make("div", "tools");
    tools.append(label, go, this.#answer);
    this.#element.append(this.#viewport, tools);
  }

  /** Fits the rows to the width and keeps the same digit at the top. */
  #measure() {
    const { clientWidth: width, clientHeight: height } = this.#viewport;
    if (width === 0 || (width === this.#widthPx && height === this.#visiblePx)) return;
    this.#widthPx = width;
    this.#visiblePx = height;
    const rowDigits = GROUP_DIGITS * this.#groupsThatFit(width);
    if (rowDigits !== this.#rowDigits) {
      this.#rowDigits = rowDigits;
      this.#rowCount = Math.ceil(this.#digits.length / rowDigits);
      this.#removeRows();
    }
    const px = this.#rowCount * this.#rowPx;
    const barPx = Math.min(px, TALLEST_PX);
    this.#topMax = Math.max(px - this.#visiblePx, 0);
    this.#scale = new Scale(Math.max(barPx - this.#visiblePx, 0), this.#topMax);
    this.#height.style.height = `${barPx}px`;
    this.#window.style.height = `${Math.min(this.#visiblePx, barPx)}px`;
    this.#moveTo(Math.floor(this.#anchor / rowDigits) * this.#rowPx);
  }

  #groupsThatFit(width) {
    const probe = this.#row(0, GROUP_DIGITS);
    this.#lines.append(probe);
    this.#rowPx = probe.getBoundingClientRect().height;
    const group = probe.lastElementChild;
    const groupPx = group.getBoundingClientRect().width + parseFloat(getComputedStyle(group).marginLeft);
    const placePx = probe.firstElementChild.getBoundingClientRect().width;
    probe.remove();
    return GROUPS_PER_ROW.find((groups) => placePx + groups * groupPx <= width) ?? 1;
  }

  #scrolled() {
    const bar = this.#viewport.scrollTop;
    const moved = bar - this.#bar;
    if (moved === 0) return;
    this.#bar = bar;
    const fine = this.#scale.scaled && Math.abs(moved) < FINE_PX;
    this.#top = this.#within(fine ? this.#top + moved : this.#scale.toTop(bar));
    this.#setAnchor();
    this.#render();
    this.#unsettled = fine;
    if ("onscrollend" in window) return;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#settle(), SETTLED_MS);
  }

  /** Puts a scaled scrollbar where it belongs. Before scrolling has ended, this would cut a smooth scroll short. */
  #settle() {
    if (!this.#unsettled) return;
    this.#unsettled = false;
    this.#moveTo(this.#top);
  }

  #pressed(event) {
    if (event.target !== this.#viewport || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const page = Math.max(Math.floor(this.#visiblePx / this.#rowPx) - 1, 1);
    const row = Math.round(this.#top / this.#rowPx);
    const target = {
      ArrowUp: row - 1,
      ArrowDown: row + 1,
      PageUp: row - page,
      PageDown: row + page,
      Home: 0,
      End: this.#rowCount,
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.#goToRow(target);
  }

  /** Goes to the digit whose number is in the field and says what it is. */
  #find() {
    const typed = this.#field.value.replace(/\s/g, "");
    const number = Number(typed);
    const valid = /^\d+$/.test(typed) && number >= 1 && number <= this.#digits.length;
    this.#field.setAttribute("aria-invalid", String(!valid));
    if (!valid) {
      this.#answer.textContent = `Type a number from 1 to ${this.#grouped(this.#digits.length)}`;
      this.#field.focus();
      return;
    }
    this.#marked = number - 1;
    this.#removeRows();
    const row = Math.floor(this.#marked / this.#rowDigits);
    this.#goToRow(row - Math.floor((this.#visiblePx / this.#rowPx - 1) / 2));
    this.#answer.textContent = `Digit ${this.#grouped(number)} is ${this.#digits.slice(number - 1, number)}`;
  }

  #goToRow(row) {
    this.#moveTo(row * this.#rowPx);
    this.#setAnchor();
  }

  #setAnchor() {
    this.#anchor = Math.round(this.#top / this.#rowPx) * this.#rowDigits;
  }

  #moveTo(top) {
    this.#top = this.#within(top);
    this.#viewport.scrollTop = this.#scale.toBar(this.#top);
    // Read back, since browsers round it; the scroll event that follows then moves nothing.
    this.#bar = this.#viewport.scrollTop;
    this.#render();
  }

  #within(top) {
    return Math.min(Math.max(top, 0), this.#topMax);
  }

  #removeRows() {
    this.#lines.replaceChildren();
    this.#rows.clear();
  }

  /** Puts the rows around the position into the document. Rows that are already there stay untouched. */
  #render() {
    const first = Math.max(Math.floor(this.#top / this.#rowPx) - ROWS_AROUND, 0);
    const end = Math.min(Math.ceil((this.#top + this.#visiblePx) / this.#rowPx) + ROWS_AROUND, this.#rowCount);
    for (const [number, row] of this.#rows) {
      if (number >= first && number < end) continue;
      row.remove();
      this.#rows.delete(number);
    }
    let next = null;
    for (let number = end - 1; number >= first; number -= 1) {
      let row = this.#rows.get(number);
      if (row === undefined) {
        const from = number * this.#rowDigits;
        row = this.#row(from, Math.min(from + this.#rowDigits, this.#digits.length));
        this.#rows.set(number, row);
        this.#lines.insertBefore(row, next);
      }
      next = row;
    }
    this.#lines.style.transform = `translateY(${first * this.#rowPx - this.#top}px)`;
  }

  #row(from, to) {
    const row = make("div", "line");
    row.append(make("span", "place", this.#grouped(from + 1)));
    for (let start = from; start < to; start += GROUP_DIGITS) {
      const text = this.#digits.slice(start, Math.min(start + GROUP_DIGITS, to));
      row.append(make("span", "group", text));
    }
    if (this.#marked !== null && this.#marked >= from && this.#marked < to) this.#mark(row, this.#marked - from);
    return row;
  }

  #mark(row, place) {
    const group = row.children[1 + Math.floor(place / GROUP_DIGITS)];
    const digit = place % GROUP_DIGITS;
    const text = group.textContent;
    group.replaceChildren(text.slice(0, digit), make("mark", "", text[digit]), text.slice(digit + 1));
  }
}

/** A selection over several rows is copied as one number. */
function copyDigitsAlone(event) {
  event.clipboardData.setData("text/plain", getSelection().toString().replace(/\s/g, ""));
  event.preventDefault();
}

function make(name, className, text = "") {
  const element = document.createElement(name);
  if (className !== "") element.className = className;
  element.textContent = text;
  return element;
}
