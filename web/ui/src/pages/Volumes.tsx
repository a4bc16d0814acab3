// The volumes of a namespace: size, who mounts them; creating and deleting.
import { Button, Group, Modal, NativeSelect, NumberInput, Stack, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMemo, useState, type FormEvent } from 'react';
import { NAMESPACE } from '../api/hooks';
import { kube, useVolumes, VOLUME } from '../api/kube';
import type { PodObject, VolumeObject } from '../api/types';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { attempt, toastDone, useConfirm } from '../components/feedback';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age } from '../components/Time';
import { plural, someOf } from '../lib/format';
import { objectPath, podState } from '../lib/jobs';

const route = getRouteApi('/app/volumes');

export function Volumes() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const navigate = useNavigate({ from: '/volumes' });
  const confirm = useConfirm();
  const { items, error } = useVolumes(ns);
  const [creating, setCreating] = useState(false);
  const volumes = useMemo(() => (items ?? []).filter((each): each is VolumeObject => each.kind === 'PersistentVolumeClaim'), [items]);
  const users = useMemo(() => {
    const by = new Map<string, string[]>();
    for (const pod of (items ?? []).filter((each): each is PodObject => each.kind === 'Pod')) {
      if (podState(pod) === 'SUCCEEDED' || podState(pod) === 'FAILED') continue;
      for (const volume of pod.spec?.volumes ?? []) {
        const claim = volume.persistentVolumeClaim?.claimName;
        if (claim !== undefined) by.set(claim, [...(by.get(claim) ?? []), pod.metadata.name]);
      }
    }
    return by;
  }, [items]);

  const remove = async (name: string) => {
    const using = users.get(name) ?? [];
    const body = using.length === 0 ? 'Everything in it is removed for good.' : `${plural(using.length, 'pod')} use it now (${someOf(using)}). It goes, with everything in it, when they have ended.`;
    if (!(await confirm({ title: `Delete the volume ${name}?`, body, confirm: 'Delete the volume' }))) return;
    await attempt(() => kube.remove(objectPath(VOLUME, ns, name)), `${name} is deleted.`, 'The volume could not be deleted');
  };
  const columns: Column<VolumeObject>[] = [
    { id: 'name', header: 'Volume', sortBy: (volume) => volume.metadata.name, cell: (volume) => <span style={{ fontWeight: 500 }}>{volume.metadata.name}</span> },
    { id: 'state', header: 'State', cell: (volume) => (volume.metadata.deletionTimestamp === undefined ? (volume.status?.phase ?? 'Pending') : 'Being deleted'), width: 120 },
    { id: 'size', header: 'Size', cell: (volume) => volume.status?.capacity?.storage ?? volume.spec?.resources?.requests?.storage, width: 100 },
    { id: 'used', header: 'Mounted by', cell: (volume) => someOf(users.get(volume.metadata.name) ?? []) || 'Nobody' },
    { id: 'created', header: 'Age', sortBy: (volume) => volume.metadata.creationTimestamp, cell: (volume) => <Age at={volume.metadata.creationTimestamp} />, width: 120 },
    { id: 'actions', header: 'Actions', cell: (volume) => <Button size="compact-xs" variant="default" aria-label={`Delete ${volume.metadata.name}`} onClick={() => void remove(volume.metadata.name)}>Delete</Button>, width: 90 },
  ];
  const create = <Button leftSection={<IconPlus size={15} aria-hidden />} onClick={() => setCreating(true)}>Create a volume</Button>;
  return (
    <Page title="Volumes" subtitle={`Folders that the pods of the namespace ${ns} share and that outlive them.`} actions={create}>
      {error !== null ? <Problem error={error} what="list of volumes" /> : items === undefined ? <Loading what="volumes" /> : (
        <DataTable
          label="Volumes"
          rows={volumes}
          columns={columns}
          rowId={(volume) => volume.metadata.name}
          view={{ sort: search.sort, page: search.page }}
          defaultSort="name"
          onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
          empty={<Empty title="No volumes yet" action={create}>A volume keeps data beyond the pods that write it, and several may mount it at once.</Empty>}
        />
      )}
      <Modal opened={creating} onClose={() => setCreating(false)} title="Create a volume" closeButtonProps={{ 'aria-label': 'Close' }}>
        <NewVolume ns={ns} onClose={() => setCreating(false)} />
      </Modal>
    </Page>
  );
}

function NewVolume({ ns, onClose }: { ns: string; onClose: () => void }) {
  const [name, setName] = useState('');
  const [size, setSize] = useState<string | number>(10);
  const [mode, setMode] = useState('ReadWriteMany');
  const [error, setError] = useState<string>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await kube.create({
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: name.trim(), namespace: ns },
        spec: { accessModes: [mode], resources: { requests: { storage: `${size}Gi` } } },
      }, ns);
      toastDone(`${name.trim()} was created.`);
      onClose();
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <TextInput label="Name" required data-autofocus value={name} onChange={(event) => setName(event.currentTarget.value)} />
        <NumberInput label="Size in GiB" required min={1} value={size} onChange={setSize} />
        <NativeSelect label="Who may mount it" value={mode} onChange={(event) => setMode(event.currentTarget.value)} data={[{ value: 'ReadWriteMany', label: 'Any number of pods' }, { value: 'ReadWriteOnce', label: 'Pods of this machine (ReadWriteOnce)' }]} />
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit">Create</Button>
        </Group>
      </Stack>
    </form>
  );
}
