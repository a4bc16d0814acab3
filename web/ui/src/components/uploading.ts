// The one queue of uploads of this tab: it outlives the page that it was filled from, and keeps lists fresh as it goes.
import { queryClient } from '../api/queryClient';
import { forget, upload } from '../api/s3';
import { plural } from '../lib/format';
import { paced } from '../lib/pace';
import { UploadQueue } from '../lib/uploadQueue';
import { toastDone, toastError } from './feedback';

/** Uploads in flight. */
const AT_ONCE = 3;
/** Milliseconds between two looks at a list that uploads change. */
const LOOK = 1000;
/** Failures that are told one by one; the others are counted. */
const TOLD = 3;

let failed = 0;
const lists = new Map<string, () => void>();

function listAgain(ns: string, bucket: string): void {
  const place = `${ns}/${bucket}`;
  const again = lists.get(place) ?? paced(() => void queryClient.invalidateQueries({ queryKey: ['objects', ns, bucket] }), LOOK);
  lists.set(place, again);
  again();
}

export const uploads = new UploadQueue({
  send: ({ ns, bucket, key, file }, told) => upload(ns, bucket, key, file, told),
  ended: ({ ns, bucket, key }, error) => {
    if (error !== undefined) {
      failed += 1;
      if (failed <= TOLD) toastError(`${key} was not uploaded`, new Error(error));
    }
    void forget(ns, bucket, [key]);
    listAgain(ns, bucket);
  },
  empty: (sent) => {
    if (failed > TOLD) toastError(`${plural(failed, 'file')} in all were not uploaded`, new Error('Send them again when the cause is mended.'));
    failed = 0;
    if (sent > 0) toastDone(`${plural(sent, 'file')} uploaded.`);
  },
}, AT_ONCE);

// Leaving the site would lose what is under way: the browser asks. It listens only then, as it slows going back.
const ask = (event: BeforeUnloadEvent) => event.preventDefault();
uploads.subscribe(() => {
  const { sending, waiting } = uploads.state();
  if (sending.length + waiting.length > 0) window.addEventListener('beforeunload', ask);
  else window.removeEventListener('beforeunload', ask);
});
