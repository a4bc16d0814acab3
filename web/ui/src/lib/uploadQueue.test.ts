// @vitest-environment node
import { expect, it, vi } from 'vitest';
import { paced } from './pace';
import { UploadQueue, type Sender, type Upload } from './uploadQueue';

type Told = Parameters<Sender['send']>[1];

/** A queue of two at once, and the ends of what it sends. */
function queue() {
  const open = new Map<string, Told & { stopped: boolean }>();
  const ended = vi.fn<(key: string, error?: string) => void>();
  const empty = vi.fn<(sent: number) => void>();
  const made = new UploadQueue({
    send: (upload, told) => {
      open.set(upload.key, { ...told, stopped: false });
      return () => {
        const one = open.get(upload.key);
        if (one === undefined) return;
        one.stopped = true;
        one.done('Stopped.');
      };
    },
    ended: (upload, error) => ended(upload.key, error),
    empty,
  }, 2);
  const file = (key: string): Omit<Upload, 'id'> => ({ ns: 'ada', bucket: 'data', key, file: new File([], key) });
  const keys = () => [made.state().sending.map((each) => each.key), made.state().waiting.map((each) => each.key)];
  return { made, open, ended, empty, file, keys };
}

it('sends some at once, the rest in turn, and tells when none is left', () => {
  const { made, open, ended, empty, file, keys } = queue();
  const seen = vi.fn();
  made.subscribe(seen);
  made.add(['a', 'b', 'c'].map(file));
  expect(keys()).toEqual([['a', 'b'], ['c']]);
  open.get('a')?.progress(40);
  expect(made.state().sending[0]?.percent).toBe(40);
  open.get('a')?.done();
  expect(keys()).toEqual([['b', 'c'], []]);
  open.get('b')?.done('No room.');
  expect(empty).not.toHaveBeenCalled();
  open.get('c')?.done();
  expect(ended.mock.calls).toEqual([['a', undefined], ['b', 'No room.'], ['c', undefined]]);
  expect(empty.mock.calls).toEqual([[2]]);
  expect(seen).toHaveBeenCalled();
});

it('what a person stops is gone without an error, and makes room', () => {
  const { made, open, ended, empty, file, keys } = queue();
  made.add(['a', 'b', 'c', 'd'].map(file));
  made.stop(3);
  made.stop(1);
  expect(open.get('a')?.stopped).toBe(true);
  expect(keys()).toEqual([['b', 'd'], []]);
  made.stopAll();
  expect(keys()).toEqual([[], []]);
  expect(ended).not.toHaveBeenCalled();
  expect(empty.mock.calls).toEqual([[0]]);
});

it('a paced action runs at once and then at most once in a while', () => {
  vi.useFakeTimers();
  const action = vi.fn();
  const call = paced(action, 1000);
  for (let n = 0; n < 5; n += 1) call();
  expect(action).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1000);
  expect(action).toHaveBeenCalledTimes(2);
  vi.advanceTimersByTime(5000);
  expect(action).toHaveBeenCalledTimes(2);
  call();
  expect(action).toHaveBeenCalledTimes(3);
  vi.useRealTimers();
});
