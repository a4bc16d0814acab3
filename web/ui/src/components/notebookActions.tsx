// What one can do with notebooks: open, stop, start, restart, delete with or without their volumes; in lists and on a page.
import { Button, Checkbox, Group, Modal, Stack, Text, type ButtonProps } from '@mantine/core';
import { IconExternalLink } from '@tabler/icons-react';
import { useState } from 'react';
import { notebooks, useMounters } from '../api/notebooks';
import type { NotebookObject } from '../api/types';
import { plural, someOf } from '../lib/format';
import { claimsOnlyOf, notebookPath, notebookState } from '../lib/notebooks';
import { attempt, toastDone, toastError, useConfirm } from './feedback';
import { Loading } from './Page';

const names = (all: readonly NotebookObject[]) => someOf(all.map((each) => each.metadata.name), 3);

/** It has an origin of its own, so it is no page of this app: a plain link. */
export function OpenNotebook({ notebook, ...look }: { notebook: NotebookObject } & ButtonProps) {
  const { name, namespace = '' } = notebook.metadata;
  return (
    <Button component="a" href={notebookPath(namespace, name)} target="_blank" rel="noopener" aria-label={`Open ${name} in a new tab`} rightSection={<IconExternalLink size={14} aria-hidden />} {...look}>
      Open
    </Button>
  );
}

/** The same for all of them; how many went wrong is told once. */
async function each(all: readonly NotebookObject[], action: (notebook: NotebookObject) => Promise<unknown>, done: string, failed: string): Promise<boolean> {
  return attempt(
    async () => {
      const results = await Promise.allSettled(all.map(action));
      const wrong = results.find((result) => result.status === 'rejected');
      if (wrong !== undefined) throw wrong.reason;
    },
    done,
    failed,
  );
}

export function useNotebookActions() {
  const confirm = useConfirm();
  const loses = (all: readonly NotebookObject[]) => all.some((notebook) => notebookState(notebook) === 'SERVING');
  return {
    stop: async (all: readonly NotebookObject[]) => {
      const what = all.length === 1 ? names(all) : plural(all.length, 'notebook');
      const sure = !loses(all) || (await confirm({
        title: `Stop ${what}?`,
        body: 'What its kernels hold in memory is lost. Files on its volumes are kept.',
        confirm: all.length === 1 ? 'Stop the notebook' : 'Stop the notebooks',
      }));
      if (sure) await each(all, ({ metadata: { namespace = '', name } }) => notebooks.stop(namespace, name), `${names(all)}: stopping.`, 'The notebook could not be stopped');
    },
    start: (all: readonly NotebookObject[]) =>
      each(all, ({ metadata: { namespace = '', name } }) => notebooks.start(namespace, name), `${names(all)}: starting.`, 'The notebook could not be started'),
    restart: async (notebook: NotebookObject) => {
      const { name, namespace = '' } = notebook.metadata;
      const sure = !loses([notebook]) || (await confirm({
        title: `Restart ${name}?`,
        body: 'What its kernels hold in memory is lost. Files on its volumes are kept.',
        confirm: 'Restart the notebook',
      }));
      if (sure) await attempt(() => notebooks.restart(namespace, name), `${name}: restarting.`, 'The notebook could not be restarted');
    },
  };
}

interface DeleteProps {
  ns: string;
  /** Those to delete; none: the dialog is closed. */
  going: readonly NotebookObject[];
  onClose: () => void;
  onDeleted: () => void;
}

export function DeleteNotebooks({ ns, going, onClose, onDeleted }: DeleteProps) {
  // What fades out still shows what it was about.
  const [last, setLast] = useState(going);
  if (going.length > 0 && going !== last) setLast(going);
  const title = last.length === 1 ? `Delete ${last[0]?.metadata.name}?` : `Delete ${plural(last.length, 'notebook')}?`;
  return (
    <Modal opened={going.length > 0} onClose={onClose} title={title} closeButtonProps={{ 'aria-label': 'Close' }}>
      {last.length > 0 && <Question ns={ns} going={last} onClose={onClose} onDeleted={onDeleted} />}
    </Modal>
  );
}

function Question({ ns, going, onClose, onDeleted }: DeleteProps) {
  const { items, error } = useMounters(ns);
  const [volumes, setVolumes] = useState(false);
  const [busy, setBusy] = useState(false);
  const claims = items === undefined ? [] : claimsOnlyOf(going, items);
  const remove = async () => {
    setBusy(true);
    try {
      // All of them are tried, whatever becomes of one.
      const gone = await Promise.allSettled(going.map(({ metadata }) => notebooks.remove(ns, metadata.name)));
      const wrong = gone.find((result) => result.status === 'rejected');
      if (wrong !== undefined) throw wrong.reason;
      if (volumes) await Promise.all(claims.map((claim) => notebooks.removeClaim(ns, claim)));
      toastDone(`${names(going)} ${going.length === 1 ? 'is' : 'are'} deleted.`);
      onDeleted();
    } catch (cause) {
      toastError('Not everything could be deleted', cause);
    }
    setBusy(false);
    onClose();
  };
  return (
    <Stack gap="md">
      <Text size="sm">{going.length > 1 && `${names(going)}. `}What runs in {going.length === 1 ? 'it' : 'them'} ends.</Text>
      {items === undefined && error === null ? (
        <Loading what="its volumes" />
      ) : claims.length === 0 ? (
        <Text size="sm" c="dimmed">{error === null ? 'Nothing else is deleted.' : 'Its volumes are kept: they could not be looked up.'}</Text>
      ) : (
        <Checkbox
          checked={volumes}
          onChange={(event) => setVolumes(event.currentTarget.checked)}
          label={claims.length === 1 ? `Delete its volume too: ${claims[0]}` : `Delete the volumes too: ${claims.join(', ')}`}
          description={claims.length === 1 ? 'Nothing else mounts it. Everything in it is removed for good.' : 'Nothing else mounts them. Everything in them is removed for good.'}
          styles={{ body: { alignItems: 'flex-start' }, label: { overflowWrap: 'anywhere' } }}
        />
      )}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose} data-autofocus>Cancel</Button>
        <Button color="red.9" loading={busy} onClick={() => void remove()}>{going.length === 1 ? 'Delete the notebook' : 'Delete the notebooks'}</Button>
      </Group>
    </Stack>
  );
}
