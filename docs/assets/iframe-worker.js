// Browsers start no workers for pages that were opened from disk. The site's search needs one, so there it runs in a frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #inner;
    #started;

    constructor(script) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.append(frame);
      this.#inner = frame.contentWindow;
      // What the script knows a worker's global scope by.
      this.#inner.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      };
      this.#inner.importScripts = (...scripts) =>
        scripts.reduce((before, next) => before.then(() => this.#load(next)), Promise.resolve());
      this.#started = this.#load(new URL(script, location.href).href);
    }

    postMessage(data) {
      this.#started.then(() => this.#inner.dispatchEvent(new MessageEvent("message", { data })));
    }

    #load(address) {
      return new Promise((loaded, failed) => {
        const element = this.#inner.document.createElement("script");
        element.src = address;
        element.onload = loaded;
        element.onerror = () => failed(new Error(`${address} cannot be loaded`));
        this.#inner.document.documentElement.append(element);
      });
    }
  };
}
