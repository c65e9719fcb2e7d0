// Posts one job until the server has judged it; does not know what becomes of the job after that.

/** How long one click is retried without further ado. */
const PATIENCE_MS = 15_000;
/** A server that says nothing for so long is taken for unreachable. */
const ANSWER_MS = 5_000;
const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 4_000;

/** The answers after which the same job may be accepted a moment later. */
const PASSING = new Set([429, 502, 503, 504]);

/**
 * Posts `{n, client, id}`. The id makes a repetition safe: the server queues it once.
 *
 * Resolves to `{accepted: true, n}`, or to `{accepted: false, final, detail}`, where `final` says
 * that trying again is of no use. `onRetry(detail)` is told why the job is not through yet.
 */
export async function submit({ id, n, client }, onRetry) {
  const started = performance.now();
  for (let attempt = 0; ; attempt += 1) {
    const answer = await post({ n, client, id });
    if (answer.accepted || answer.final) return answer;
    const pause = answer.retryAfterMs ?? Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS);
    if (performance.now() - started + pause > PATIENCE_MS) return answer;
    onRetry(answer.detail);
    await new Promise((resume) => setTimeout(resume, pause * (1 + Math.random() / 4)));
  }
}

async function post(job) {
  let response;
  let body;
  try {
    response = await fetch("fib", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(job),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    body = await response.json().catch(() => null);
  } catch {
    return { accepted: false, final: false, detail: "The server cannot be reached." };
  }
  if (response.status === 202) return { accepted: true, n: body?.n ?? job.n };
  return {
    accepted: false,
    final: !PASSING.has(response.status),
    detail: body?.detail || `The server answered with status ${response.status} and no reason.`,
    retryAfterMs: retryAfterMs(response.headers.get("Retry-After")),
  };
}

/** `Retry-After` in its form of whole seconds; undefined for anything else. */
function retryAfterMs(header) {
  return /^\d+$/.test(header ?? "") ? Number(header) * 1000 : undefined;
}
