// The volumes of a namespace: size, who mounts them; creating and deleting.
import { Button, Group, Modal, NativeSelect, NumberInput, Stack, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { Fragment, useMemo, useState, type FormEvent } from 'react';
import { NAMESPACE } from '../api/hooks';
import { kube, useVolumes, VOLUME } from '../api/kube';
import type { VolumeObject } from '../api/types';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { attempt, toastDone, useConfirm } from '../components/feedback';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age } from '../components/Time';
import { someOf } from '../lib/format';
import { objectPath } from '../lib/jobs';
import { mountersOf, type Mounter } from '../lib/notebooks';

const route = getRouteApi('/app/volumes');

export function Volumes() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const navigate = useNavigate({ from: '/volumes' });
  const confirm = useConfirm();
  const { items, error } = useVolumes(ns);
  const [creating, setCreating] = useState(false);
  const volumes = useMemo(() => (items ?? []).filter((each): each is VolumeObject => each.kind === 'PersistentVolumeClaim'), [items]);
  const users = useMemo(() => mountersOf((items ?? []).filter((each): each is Exclude<typeof each, VolumeObject> => each.kind !== 'PersistentVolumeClaim')), [items]);

  const remove = async (name: string) => {
    const using = users.get(name) ?? [];
    const body = using.length === 0 ? 'Everything in it is removed for good.' : `${someOf(using.map((each) => `${each.notebook ? 'the notebook' : 'the pod'} ${each.name}`))} ${using.length === 1 ? 'uses' : 'use'} it. It goes, with everything in it, when no pod has it any more.`.replace(/^t/, 'T');
    if (!(await confirm({ title: `Delete the volume ${name}?`, body, confirm: 'Delete the volume' }))) return;
    await attempt(() => kube.remove(objectPath(VOLUME, ns, name)), `${name} is deleted.`, 'The volume could not be deleted');
  };
  const columns: Column<VolumeObject>[] = [
    { id: 'name', header: 'Volume', sortBy: (volume) => volume.metadata.name, cell: (volume) => <span style={{ fontWeight: 500 }}>{volume.metadata.name}</span> },
    { id: 'state', header: 'State', cell: (volume) => (volume.metadata.deletionTimestamp === undefined ? (volume.status?.phase ?? 'Pending') : 'Being deleted'), width: 120 },
    { id: 'size', header: 'Size', cell: (volume) => volume.status?.capacity?.storage ?? volume.spec?.resources?.requests?.storage, width: 100 },
    { id: 'used', header: 'Mounted by', cell: (volume) => <Users ns={ns} of={users.get(volume.metadata.name) ?? []} /> },
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

/** Notebooks as links; those that are stopped too, because they need it again. */
function Users({ ns, of }: { ns: string; of: Mounter[] }) {
  if (of.length === 0) return 'Nobody';
  const notebooks = of.filter((each) => each.notebook).slice(0, 3);
  const others = [...of.filter((each) => !each.notebook), ...of.filter((each) => each.notebook).slice(3)].map((each) => each.name);
  return (
    <>
      {notebooks.map(({ name }, i) => (
        <Fragment key={name}>
          {i > 0 && ', '}
          <Link to="/notebooks/$ns/$name" params={{ ns, name }} className="kf-link">{name}</Link>
        </Fragment>
      ))}
      {notebooks.length > 0 && others.length > 0 && ', '}
      {someOf(others)}
    </>
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
