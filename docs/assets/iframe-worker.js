/* Browsers start no workers in pages opened from a folder. There, the search runs in a hidden frame instead. */
(() => {
  if (location.protocol !== "file:") return;

  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      url = new URL(url, location.href);
      this.waiting = [];
      this.onmessage = null;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      (document.body || document.documentElement).append(frame);
      const inner = (this.inner = frame.contentWindow);
      const load = (address) =>
        new Promise((done, failed) => {
          const script = inner.document.createElement("script");
          script.src = new URL(address, url);
          script.onload = done;
          script.onerror = failed;
          inner.document.documentElement.append(script);
        });
      inner.importScripts = (...addresses) =>
        addresses.reduce((before, address) => before.then(() => load(address)), Promise.resolve());
      inner.postMessage = (data) => this.tell(this, data);
      load(url).then(() => {
        this.ready = true;
        this.waiting.splice(0).forEach((data) => this.tell(inner, data));
      });
    }

    tell(target, data) {
      const event = new MessageEvent("message", { data });
      if (target === this && this.onmessage) this.onmessage(event);
      target.dispatchEvent(event);
    }

    postMessage(data) {
      if (this.ready) this.tell(this.inner, data);
      else this.waiting.push(data);
    }

    terminate() {}
  }

  window.Worker = FrameWorker;
})();
