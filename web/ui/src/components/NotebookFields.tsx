// The fields that every new notebook has: name, image, CPU and memory beside what is free, the workspace.
import { Alert, Code, Grid, NativeSelect, NumberInput, Radio, Stack, Text, TextInput } from '@mantine/core';
import { IconAlertTriangle, IconClockHour4 } from '@tabler/icons-react';
import { useState } from 'react';
import type { PodDefaultObject, ReadyImage } from '../api/types';
import { bytes } from '../lib/format';
import { fit, freeCpu, freeMemory, HOME, workspaceName, type Around, type NotebookForm, type Problems } from '../lib/notebookForm';

export interface FieldsProps {
  form: NotebookForm;
  set: (patch: Partial<NotebookForm>) => void;
  problems: Problems;
  around: Around;
  images: ReadyImage[];
  presets: PodDefaultObject[];
}

const OTHER = ' other';
export const asNumber = (value: string | number): number => (value === '' ? 0 : Number(value));

export function NotebookFields({ form, set, problems, around, images }: FieldsProps) {
  const { wait } = fit(around.room, form.cpu, form.memory);
  return (
    <>
      <TextInput id="notebook-name" label="Name" required spellCheck={false} autoComplete="off" value={form.name} onChange={(event) => set({ name: event.currentTarget.value })} error={problems.name} />
      <Image form={form} set={set} problems={problems} images={images} />
      <Grid gap="sm">
        <Grid.Col span={6}>
          <NumberInput id="notebook-cpu" label="CPUs" required min={0.1} step={0.5} decimalScale={2} value={form.cpu} onChange={(value) => set({ cpu: asNumber(value) })} description={freeCpu(around.room)} error={problems.cpu} />
        </Grid.Col>
        <Grid.Col span={6}>
          <NumberInput id="notebook-memory" label="Memory in GiB" required min={0.25} step={1} decimalScale={2} value={form.memory} onChange={(value) => set({ memory: asNumber(value) })} description={freeMemory(around.room)} error={problems.memory} />
        </Grid.Col>
      </Grid>
      {wait !== undefined && <Note icon="wait">{wait}</Note>}
      <Workspace form={form} set={set} problems={problems} around={around} />
    </>
  );
}

/** Something to know before one goes on; it does not keep anybody from it. */
function Note({ icon, children }: { icon: 'wait' | 'warn'; children: string }) {
  const Icon = icon === 'wait' ? IconClockHour4 : IconAlertTriangle;
  return (
    <Alert role="status" variant="default" icon={<Icon size={17} aria-hidden />} p="xs" styles={{ root: { background: 'var(--kf-wait-soft)', borderColor: 'transparent' }, icon: { color: 'var(--kf-wait)' }, message: { color: 'var(--mantine-color-text)' } }}>
      {children}
    </Alert>
  );
}

function Image({ form, set, problems, images }: Pick<FieldsProps, 'form' | 'set' | 'problems' | 'images'>) {
  const [other, setOther] = useState(images.length === 0);
  const chosen = images.find((image) => image.name === form.image);
  const typed = (
    <TextInput
      id="notebook-image"
      label={images.length === 0 ? 'Image' : 'Name of the image'}
      required
      spellCheck={false}
      placeholder="registry/name:tag"
      value={form.image}
      onChange={(event) => set({ image: event.currentTarget.value })}
      description={
        images.length === 0 ? (
          <>No image for notebooks is ready on the box. <Code fz="xs">images/build.sh notebooks</Code> builds them; or name another that listens on port 8888.</>
        ) : 'One that listens on port 8888, on the box or in a registry.'
      }
      error={problems.image}
    />
  );
  if (images.length === 0) return typed;
  return (
    <Stack gap="xs">
      <NativeSelect
        label="Image"
        required
        value={other ? OTHER : form.image}
        onChange={(event) => {
          const { value } = event.currentTarget;
          setOther(value === OTHER);
          set({ image: value === OTHER ? '' : value });
        }}
        data={[...images.map((image) => ({ value: image.name, label: `${image.title ?? image.name}${image.size === undefined ? '' : ` (${bytes(image.size)})`}` })), { value: OTHER, label: 'Another image' }]}
        description={other ? undefined : chosen?.about}
      />
      {other && typed}
    </Stack>
  );
}

function Workspace({ form, set, problems, around }: Pick<FieldsProps, 'form' | 'set' | 'problems' | 'around'>) {
  return (
    <Radio.Group
      label="Workspace"
      description={`The volume at ${HOME}: what it holds outlives the notebook.`}
      value={form.workspace}
      onChange={(workspace) => set({ workspace: workspace as NotebookForm['workspace'] })}
    >
      <Stack gap="xs" mt={6}>
        <Radio value="new" label={`A new volume, ${workspaceName(form)}`} styles={{ label: { overflowWrap: 'anywhere' } }} />
        {form.workspace === 'new' && (
          <NumberInput id="notebook-workspace" ml={28} w={200} label="Size in GiB" required min={1} value={form.size} onChange={(value) => set({ size: asNumber(value) })} error={problems.workspace} styles={{ error: { width: 'max-content', maxWidth: 'min(480px, 75vw)' } }} />
        )}
        <Radio value="existing" label="A volume that is there" disabled={around.claims.length === 0} />
        {form.workspace === 'existing' && (
          <NativeSelect id="notebook-workspace" ml={28} maw={360} aria-label="Volume of the workspace" value={form.claim} onChange={(event) => set({ claim: event.currentTarget.value })} data={[{ value: '', label: 'Choose…' }, ...around.claims.map((claim) => ({ value: claim, label: claim }))]} error={problems.workspace} />
        )}
        <Radio value="none" label="None" />
        {form.workspace === 'none' && <Note icon="warn">Without a volume all files are lost when the notebook stops.</Note>}
        {form.workspace === 'none' && problems.workspace !== undefined && <Text size="sm" c="var(--mantine-color-error)">{problems.workspace}</Text>}
      </Stack>
    </Radio.Group>
  );
}
