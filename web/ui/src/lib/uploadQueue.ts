// The queue of uploads: some are sent at once, the rest wait. It knows neither pages nor the box: both are given. Pure.

/** A file on its way to an object. */
export interface Upload {
  id: number;
  ns: string;
  bucket: string;
  key: string;
  file: File;
  /** None: it waits. */
  percent?: number;
}

export interface UploadState {
  sending: readonly Upload[];
  waiting: readonly Upload[];
}

/** How the queue sends, and whom it tells. */
export interface Sender {
  /** Sends one; returns how to stop it. */
  send: (upload: Upload, told: { progress: (percent: number) => void; done: (error?: string) => void }) => () => void;
  /** One has ended, well or with an error. */
  ended: (upload: Upload, error?: string) => void;
  /** None is left: how many were sent since the queue was last empty. */
  empty: (sent: number) => void;
}

export class UploadQueue {
  private now: UploadState = { sending: [], waiting: [] };
  private readonly stops = new Map<number, () => void>();
  private readonly listeners = new Set<() => void>();
  private next = 0;
  private sent = 0;

  constructor(
    private readonly sender: Sender,
    private readonly atOnce: number,
  ) {}

  readonly state = (): UploadState => this.now;
  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  add(files: readonly Omit<Upload, 'id' | 'percent'>[]): void {
    const fresh = files.map((each) => ({ ...each, id: (this.next += 1) }));
    this.set({ ...this.now, waiting: [...this.now.waiting, ...fresh] });
    this.fill();
  }

  /** One that a person stops is gone, without an error. */
  stop(id: number): void {
    const stop = this.stops.get(id);
    const { sending, waiting } = this.now;
    this.stops.delete(id);
    this.set({ sending: sending.filter((each) => each.id !== id), waiting: waiting.filter((each) => each.id !== id) });
    stop?.();
    this.fill();
  }

  stopAll(): void {
    const stops = [...this.stops.values()];
    this.stops.clear();
    this.set({ sending: [], waiting: [] });
    for (const stop of stops) stop();
    this.fill();
  }

  private fill(): void {
    const room = this.atOnce - this.now.sending.length;
    const starting = this.now.waiting.slice(0, Math.max(0, room)).map((each) => ({ ...each, percent: 0 }));
    if (starting.length > 0) this.set({ sending: [...this.now.sending, ...starting], waiting: this.now.waiting.slice(starting.length) });
    for (const upload of starting) {
      const { id } = upload;
      this.stops.set(id, this.sender.send(upload, {
        progress: (percent) => {
          if (this.stops.has(id)) this.set({ ...this.now, sending: this.now.sending.map((each) => (each.id === id ? { ...each, percent } : each)) });
        },
        done: (error) => {
          // What was stopped has already left.
          if (!this.stops.delete(id)) return;
          if (error === undefined) this.sent += 1;
          this.set({ ...this.now, sending: this.now.sending.filter((each) => each.id !== id) });
          this.sender.ended(upload, error);
          this.fill();
        },
      }));
    }
    if (this.now.sending.length + this.now.waiting.length > 0) return;
    const sent = this.sent;
    this.sent = 0;
    this.sender.empty(sent);
  }

  private set(state: UploadState): void {
    this.now = state;
    for (const listener of this.listeners) listener();
  }
}
