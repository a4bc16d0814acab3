// The files of a drop or a choice, those of folders with their path below it. Browsers tell a folder's entries in parts.

/** A file and where it lies, from the folder that was dropped or chosen on. */
export interface FoundFile {
  path: string;
  file: File;
}

export const chosen = (files: readonly File[]): FoundFile[] => files.map((file) => ({ path: file.webkitRelativePath || file.name, file }));

/** All files of a drop. The list of a drop is empty once its event is over: entries are taken before anything is awaited. */
export async function dropped(transfer: DataTransfer): Promise<FoundFile[]> {
  const files = [...transfer.items].filter((item) => item.kind === 'file').map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  const found = await Promise.all(files.map(async (each) => {
    if (each === null) return [];
    return each instanceof File ? [{ path: each.name, file: each }] : walk(each, each.name);
  }));
  return found.flat();
}

async function walk(entry: FileSystemEntry, path: string): Promise<FoundFile[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ path, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: FoundFile[] = [];
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (part.length === 0) return found;
    for (const each of part) found.push(...(await walk(each, `${path}/${each.name}`)));
  }
}
