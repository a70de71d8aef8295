/** The structures as surfaces, by NiiVue, which is loaded when they are first shown. */

import type { NVMesh, Niivue } from "@niivue/niivue";

import type { App } from "./app";
import type { LabelledObject } from "./objects";
import { element } from "./dom";
import type { Axis } from "./protocol";

interface Shown {
  version: number;
  colour: string;
  mesh: NVMesh | null;
}

export class Scene3D {
  readonly root: HTMLElement;
  private readonly canvas = element("canvas", { class: "scene", "aria-label": "Structures in three dimensions", role: "img", tabindex: "-1" });
  private readonly note = element("p", { class: "scene-note" }, ["Structures appear here in 3D"]);
  private niivue: Niivue | null = null;
  private library: typeof import("@niivue/niivue") | null = null;
  private shown = new Map<string, Shown>();
  private timer = 0;
  private working = false;
  private failed = false;

  constructor(private readonly app: App) {
    this.root = element("section", { class: "plane three", "data-axis": "3", "aria-label": "3D" }, [this.canvas, this.note]);
    app.on(["masks", "objects"], () => this.later());
    app.on(["scan"], () => {
      for (const name of [...this.shown.keys()]) this.drop(name);
      this.later();
    });
  }

  private later(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.update(), 250);
  }

  /** Surfaces of what has changed; one at a time, never while the model works. */
  private async update(): Promise<void> {
    const { app } = this;
    if (this.working || this.failed || !app.scan || app.scan.single_slice || this.root.offsetParent === null) return;
    if (app.busy) return;
    const present = app.objects.filter((o) => o.visible && o.mask.count > 0);
    for (const name of this.shown.keys()) if (!present.some((o) => o.name === name)) this.drop(name);
    this.note.hidden = present.length > 0;
    const stale = present.find((o) => !this.isFresh(o));
    if (!stale) return;
    this.working = true;
    try {
      await this.show(stale);
    } catch (error) {
      this.failed = true;
      this.note.hidden = false;
      this.note.textContent = `No 3D here: ${error instanceof Error ? error.message : String(error)}`;
    } finally {
      this.working = false;
    }
    this.later();
  }

  private isFresh(object: LabelledObject): boolean {
    const shown = this.shown.get(object.name);
    return shown?.version === object.mask.version && shown.colour === object.colour.join();
  }

  private async show(object: LabelledObject): Promise<void> {
    const { version } = object.mask;
    const surface = await this.app.connection.request<{ vertices: Float32Array | null; triangles: Uint32Array | null }>("surface", { name: object.name });
    const { niivue, library } = await this.ready();
    this.drop(object.name);
    let mesh: NVMesh | null = null;
    if (surface.vertices?.length && surface.triangles?.length) {
      const points = this.inMillimetres(surface.vertices);
      const colour = new Uint8Array([...object.colour, 255]);
      mesh = new library.NVMesh(points, surface.triangles, object.name, colour, 1, true, niivue.gl);
      niivue.addMesh(mesh);
    }
    this.shown.set(object.name, { version, colour: object.colour.join(), mesh });
    niivue.drawScene();
  }

  private drop(name: string): void {
    const mesh = this.shown.get(name)?.mesh;
    if (mesh && this.niivue) this.niivue.removeMesh(mesh);
    this.shown.delete(name);
  }

  private async ready(): Promise<{ niivue: Niivue; library: typeof import("@niivue/niivue") }> {
    this.library ??= await import("@niivue/niivue");
    if (!this.niivue) {
      const niivue = new this.library.Niivue({
        backColor: [0, 0, 0, 1],
        show3Dcrosshair: false,
        isOrientCube: true,
        loadingText: "",
        dragAndDropEnabled: false,
        logLevel: "error",
      });
      await niivue.attachToCanvas(this.canvas);
      if (!niivue.gl) throw new Error("the browser has no WebGL2");
      niivue.setSliceType(this.library.SLICE_TYPE.RENDER);
      niivue.setRenderAzimuthElevation(200, 12);
      this.niivue = niivue;
    }
    return { niivue: this.niivue, library: this.library };
  }

  /** Voxels (z, y, x) to the mm that NiiVue draws in: right, anterior, superior; the grid's own axes, not turned. */
  private inMillimetres(vertices: Float32Array): Float32Array {
    const { spacing, shape } = this.app.scan!;
    const points = new Float32Array(vertices.length);
    for (let n = 0; n < vertices.length; n += 3) {
      const mm = (axis: Axis) => (vertices[n + axis]! - shape[axis] / 2) * spacing[axis];
      points[n] = -mm(2);
      points[n + 1] = -mm(1);
      points[n + 2] = mm(0);
    }
    return points;
  }
}
