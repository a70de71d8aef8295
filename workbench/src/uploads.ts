/** Files that are dropped or chosen, on their way to the server: they stay on this computer. */

import type { Connection } from "./connection";

export interface Sent {
  file: File;
  /** Its place in the folder that was dropped. */
  path: string;
}

/** What was chosen in a field for files. */
export function chosen(input: HTMLInputElement): Sent[] {
  return [...(input.files ?? [])].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/** A place on which files are dropped. */
export function takesDrops(zone: HTMLElement, send: (files: Sent[]) => void, failed: (error: unknown) => void): void {
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const items = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry()).filter((e) => e !== null);
    void Promise.all(items.map(filesIn)).then((found) => send(found.flat())).catch(failed);
  });
}

async function filesIn(entry: FileSystemEntry): Promise<Sent[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ file, path: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Sent[] = [];
  for (;;) {
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const inside of entries) found.push(...(await filesIn(inside)));
  }
}

/** Send files, then say what they are; what the server makes of them. */
export async function upload<T>(
  connection: Connection,
  files: Sent[],
  tell: (text: string) => void,
  end: { path: string; as?: string } = { path: "/api/upload-done" },
): Promise<T> {
  const drop = crypto.randomUUID();
  for (const [n, { file, path }] of files.entries()) {
    tell(`reading ${n + 1} of ${files.length}: ${file.name}`);
    await checked(
      await connection.fetch(`/api/upload/${encodeURIComponent(file.name)}`, {
        method: "POST",
        body: file,
        headers: { "X-Sammed-Drop": drop, "X-Sammed-Path": encodeURIComponent(path) },
      }),
    );
  }
  tell("opening …");
  const headers = { "X-Sammed-Drop": drop, ...(end.as ? { "X-Sammed-As": end.as } : {}) };
  return checked(await connection.fetch(end.path, { method: "POST", headers }));
}

async function checked<T>(response: Response): Promise<T> {
  const answer = (await response.json().catch(() => null)) as { event?: string; error?: { message: string } } | null;
  if (!response.ok || answer?.event !== "done") throw new Error(answer?.error?.message ?? `sammed answered ${response.status}`);
  return answer as T;
}
