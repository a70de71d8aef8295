/** The WebSocket to the server: requests with answers, arrays as binary messages, and coming back after a break. */

import { ServerError, type ArrayReference } from "./protocol";

type Json = Record<string, unknown>;

interface Waiting {
  what: string;
  resolve: (answer: Json) => void;
  reject: (error: Error) => void;
  onEvent?: (event: string, message: Json) => void;
}

export interface ConnectionEvents {
  onPush: (event: string, message: Json) => void;
  onState: (state: "open" | "lost" | "refused") => void;
}

/** What else may take long, and can be stopped. */
const LONG = new Set(["take", "follow_up", "add_phase"]);

const RETRY_MS = [200, 500, 1000, 2000, 4000];

export class Connection {
  private socket: WebSocket | null = null;
  private waiting = new Map<number, Waiting>();
  private count = 0;
  private tries = 0;
  private closed = false;
  private incoming: { message: Json; frames: ArrayBuffer[]; expected: number } | null = null;

  constructor(
    private readonly token: string,
    private readonly events: ConnectionEvents,
  ) {}

  open(): void {
    const socket = new WebSocket(`ws://${location.host}/api/socket`, ["sammed.1", `token.${this.token}`]);
    socket.binaryType = "arraybuffer";
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.tries = 0;
      this.events.onState("open");
    };
    socket.onmessage = (event) => this.receive(event.data as string | ArrayBuffer);
    socket.onclose = () => this.lost(opened);
    this.socket = socket;
  }

  /** Ask; the answer has its arrays in place of the references to them. */
  request<T = Json>(
    action: string,
    fields: Json = {},
    onEvent?: (event: string, message: Json) => void,
  ): Promise<T> {
    const socket = this.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN) {
      return Promise.reject(new ServerError("lost", "the connection to sammed is lost; trying again"));
    }
    const id = ++this.count;
    const arrays: Uint8Array[] = [];
    const message = JSON.stringify({ id, do: action, ...fields }, (_, value: unknown) => {
      if (!(value instanceof SentArray)) return value;
      arrays.push(value.data);
      return { frame: arrays.length - 1, dtype: "|u1", shape: value.shape };
    });
    const text = arrays.length ? `{"frames":${arrays.length},${message.slice(1)}` : message;
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { what: action, resolve: resolve as (answer: Json) => void, reject, onEvent });
      socket.send(text);
      for (const array of arrays) socket.send(array as Uint8Array<ArrayBuffer>);
    });
  }

  /** Stop the segmentation, also one that has not begun, or all that takes long; nobody waits for the answer. */
  cancel(all = false): void {
    const long = [...this.waiting].filter(([, { what }]) => what === "segment" || (all && LONG.has(what))).map(([id]) => id);
    const told = all ? long : long.slice(-1);
    if (!told.length) this.request("cancel").catch(() => undefined);
    for (const request of told) this.request("cancel", { request }).catch(() => undefined);
  }

  /** Never come back: the server has ended. */
  close(): void {
    this.closed = true;
    this.socket?.close();
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("Authorization", `Bearer ${this.token}`);
    return fetch(path, { ...init, headers, cache: "no-store" });
  }

  private receive(data: string | ArrayBuffer): void {
    if (typeof data === "string") {
      const message = JSON.parse(data) as Json;
      const expected = (message.frames as number | undefined) ?? 0;
      if (expected === 0) this.deliver(message);
      else this.incoming = { message, frames: [], expected };
      return;
    }
    if (!this.incoming) return;
    this.incoming.frames.push(data);
    if (this.incoming.frames.length < this.incoming.expected) return;
    const { message, frames } = this.incoming;
    this.incoming = null;
    this.deliver(placed(message, frames) as Json);
  }

  private deliver(message: Json): void {
    const event = message.event as string;
    const waiting = typeof message.id === "number" ? this.waiting.get(message.id) : undefined;
    if (!waiting || event === "note") {
      this.events.onPush(event, message);
      return;
    }
    if (event === "done" || event === "error" || event === "cancelled") {
      this.waiting.delete(message.id as number);
      if (event === "done") waiting.resolve(message);
      else waiting.reject(failure(event, message));
    } else waiting.onEvent?.(event, message);
  }

  private lost(opened: boolean): void {
    this.socket = null;
    this.incoming = null;
    for (const waiting of this.waiting.values()) {
      waiting.reject(new ServerError("lost", "the connection to sammed was lost"));
    }
    this.waiting.clear();
    if (this.closed) return;
    const wait = RETRY_MS[Math.min(this.tries, RETRY_MS.length - 1)]!;
    this.tries += 1;
    this.events.onState(opened || this.tries < 3 ? "lost" : "refused");
    setTimeout(() => this.open(), wait);
  }
}

/** An array of bytes on its way to the server. */
export class SentArray {
  constructor(
    readonly data: Uint8Array,
    readonly shape: number[],
  ) {}
}

function failure(event: string, message: Json): ServerError {
  if (event === "cancelled") return new ServerError("cancelled", "stopped");
  const error = message.error as { code: string; message: string } & Json;
  return new ServerError(error.code, error.message, error);
}

/** The message with each reference to a frame replaced by the array. */
function placed(value: unknown, frames: ArrayBuffer[]): unknown {
  if (Array.isArray(value)) return value.map((item) => placed(item, frames));
  if (typeof value !== "object" || value === null) return value;
  const reference = value as ArrayReference;
  if (typeof reference.frame === "number" && typeof reference.dtype === "string") {
    return typed(reference.dtype, frames[reference.frame]!);
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, placed(item, frames)]));
}

export type Numbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

/** Raw numbers as a typed array; `dtype` as numpy writes it. */
export function typed(dtype: string, buffer: ArrayBuffer): Numbers {
  const kind = dtype.replace(/^[<|=]/, "");
  switch (kind) {
    case "b1":
    case "u1":
      return new Uint8Array(buffer);
    case "i1":
      return new Int8Array(buffer);
    case "u2":
      return new Uint16Array(buffer);
    case "i2":
      return new Int16Array(buffer);
    case "u4":
      return new Uint32Array(buffer);
    case "i4":
      return new Int32Array(buffer);
    case "f4":
      return new Float32Array(buffer);
    case "f8":
      return new Float64Array(buffer);
    default:
      throw new ServerError("bad_answer", `the page cannot read numbers of type ${dtype}`);
  }
}
