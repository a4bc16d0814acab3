// A log in memory: bytes arrive in any cut, lines come out. Built for hundreds of megabytes: no copying of what is there.

const stampPattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?/;
const errorPattern = /\b(error|exception|traceback|fatal|panic(ked)?|failed|killed)\b/i;

export interface LogLine {
  stamp?: string;
  text: string;
}

export function splitStamp(line: string): LogLine {
  const match = stampPattern.exec(line);
  if (match === null) return { text: line };
  return { stamp: match[1], text: line.slice(match[0].length) };
}

export const looksLikeError = (text: string): boolean => errorPattern.test(text);

const escapes = /\u001b\[[0-9;?]*[A-Za-z]|\u001b\][^\u0007]*\u0007|[\u0000-\u0008\u000b-\u001a\u001c-\u001f]/g;
/** Terminal colours and other control codes carry no meaning here. A bare carriage return redraws the line: keep the last drawing. */
export function clean(text: string): string {
  const redrawn = text.includes('\r') ? text.replace(/\r$/, '').split('\r').pop() ?? '' : text;
  return redrawn.includes('\u001b') || escapes.test(redrawn) ? redrawn.replace(escapes, '') : redrawn;
}

export class LogBuffer {
  readonly lines: string[] = [];
  bytes = 0;
  firstError = -1;
  private rest = '';

  /** Adds text; `size` is its length in bytes, so that a broken stream can go on where it stopped. */
  push(chunk: string, size: number): void {
    this.bytes += size;
    const parts = chunk.split('\n');
    parts[0] = this.rest + (parts[0] ?? '');
    this.rest = parts.pop() ?? '';
    for (const part of parts) this.add(part);
  }

  /** The log is complete: what has no newline is a line too. */
  end(): void {
    if (this.rest !== '') this.add(this.rest);
    this.rest = '';
  }

  private add(line: string): void {
    if (this.firstError < 0 && looksLikeError(splitStamp(line).text)) this.firstError = this.lines.length;
    this.lines.push(line);
  }

  /** Line numbers that contain the text, case aside; capped, since nobody steps through more. */
  search(needle: string, max = 50_000): number[] {
    const wanted = needle.toLowerCase();
    const found: number[] = [];
    if (wanted === '') return found;
    for (let i = 0; i < this.lines.length && found.length < max; i += 1) {
      if ((this.lines[i] ?? '').toLowerCase().includes(wanted)) found.push(i);
    }
    return found;
  }
}
