/** When things are drawn. */

/** Calls at once, and again at most every so often: drawing takes time from the model. */
export class Pace {
  private last = -Infinity;
  private timer = 0;

  constructor(
    private readonly ms: number,
    private readonly call: () => void,
  ) {}

  ask(): void {
    const wait = this.last + this.ms - performance.now();
    if (wait <= 0) this.now();
    else this.timer ||= window.setTimeout(() => this.now(), wait);
  }

  private now(): void {
    this.timer = 0;
    this.last = performance.now();
    this.call();
  }
}

/** Note the time at which what was just told is on the screen; the benchmarks read it. */
export function markWhenDrawn(what: string): void {
  requestAnimationFrame(() => setTimeout(() => performance.mark(what)));
}
