// The folded fields of a new notebook: data volumes, presets, shared memory, idle time-out, environment.
import { Anchor, Button, Checkbox, CloseButton, Collapse, Grid, Group, NativeSelect, NumberInput, Stack, Text, TextInput, Title } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useState, type ReactNode } from 'react';
import { HOME, type DataVolume, type NotebookForm, type Problems } from '../lib/notebookForm';
import { IDLE_CHOICES, presetTitle } from '../lib/notebooks';
import { asNumber, type FieldsProps } from './NotebookFields';

/** Keys of rows: they must outlive those before them. */
const nextId = (rows: { id: number }[]): number => Math.max(0, ...rows.map((row) => row.id)) + 1;

function Part({ title, about, children }: { title: string; about?: string; children: ReactNode }) {
  return (
    <section aria-label={title}>
      <Title order={3} mb={about === undefined ? 6 : 0}>{title}</Title>
      {about !== undefined && <Text size="xs" c="dimmed" mb={6}>{about}</Text>}
      {children}
    </section>
  );
}

export function AdvancedFields({ form, set, problems, around, presets, open }: FieldsProps & { open: boolean }) {
  const [unfolded, setUnfolded] = useState(false);
  const shown = unfolded || open;
  return (
    <div>
      <Anchor component="button" type="button" size="sm" ta="left" aria-expanded={shown} onClick={() => setUnfolded(!shown)}>
        {shown ? 'Hide the advanced fields' : 'Advanced: data volumes, presets, shared memory, idle time-out, variables'}
      </Anchor>
      <Collapse expanded={shown}>
        <Stack gap="lg" pt="sm">
          <DataVolumes form={form} set={set} problems={problems} claims={around.claims} />
          <Part title="Presets" about="What the PodDefaults of the namespace put in: variables, volumes, sidecars.">
            {presets.length === 0 ? <Text size="sm" c="dimmed">The namespace has none.</Text> : (
              <Stack gap={6}>
                {presets.map((preset) => (
                  <Preset key={preset.metadata.name} name={preset.metadata.name} title={presetTitle(preset)} usable={Object.keys(preset.spec?.selector?.matchLabels ?? {}).length > 0} form={form} set={set} />
                ))}
              </Stack>
            )}
          </Part>
          <Grid gap="sm">
            <Grid.Col span={{ base: 12, xs: 6 }}>
              <NumberInput id="notebook-shm" label="Shared memory in GiB" description="For data loaders; 0: the box's default." min={0} step={1} decimalScale={2} value={form.shm} onChange={(value) => set({ shm: asNumber(value) })} error={problems.shm} />
            </Grid.Col>
            <Grid.Col span={{ base: 12, xs: 6 }}>
              <NativeSelect label="Stop it when idle for" description="When no kernel and no terminal was used for so long." value={form.idle} onChange={(event) => set({ idle: event.currentTarget.value })} data={IDLE_CHOICES} />
            </Grid.Col>
          </Grid>
          <Variables form={form} set={set} problems={problems} />
        </Stack>
      </Collapse>
    </div>
  );
}

/** It is chosen by labels; without any it is in every pod anyway. */
function Preset({ name, title, usable, form, set }: { name: string; title: string; usable: boolean } & Pick<FieldsProps, 'form' | 'set'>) {
  return (
    <Checkbox
      label={title}
      description={usable ? (title === name ? undefined : name) : `${name}: every pod has it.`}
      disabled={!usable}
      checked={!usable || form.presets.includes(name)}
      onChange={(event) => set({ presets: event.currentTarget.checked ? [...form.presets, name] : form.presets.filter((each) => each !== name) })}
    />
  );
}

interface RowsProps {
  form: NotebookForm;
  set: FieldsProps['set'];
  problems: Problems;
}

function DataVolumes({ form, set, problems, claims }: RowsProps & { claims: readonly string[] }) {
  const change = (id: number, patch: Partial<DataVolume>) => set({ data: form.data.map((each) => (each.id === id ? { ...each, ...patch } : each)) });
  const add = () => {
    const id = nextId(form.data);
    const fresh = claims.length === 0;
    const name = fresh ? `${form.name}-data-${id}` : '';
    set({ data: [...form.data, { id, fresh, claim: name, size: 10, path: `${HOME}/data-${id}`, readOnly: false }] });
  };
  return (
    <Part title="Data volumes" about="More folders that outlive the notebook, or that others share.">
      <Stack gap="xs">
        {form.data.map((volume, i) => {
          const wrong = (field: string) => problems[`data.${volume.id}.${field}`];
          const id = (field: string) => `notebook-data.${volume.id}.${field}`;
          return (
            <fieldset key={volume.id} className="kf-card" style={{ padding: 10, margin: 0, minWidth: 0 }}>
              <legend className="kf-hidden">Data volume {i + 1}</legend>
              <Group gap="sm" align="flex-start">
                <NativeSelect label="Volume" w={110} value={volume.fresh ? 'new' : 'existing'} onChange={(event) => change(volume.id, event.currentTarget.value === 'new' ? { fresh: true, claim: `${form.name}-data-${volume.id}` } : { fresh: false, claim: '' })} data={[{ value: 'existing', label: 'Existing' }, { value: 'new', label: 'New' }]} />
                {volume.fresh ? (
                  <>
                    <TextInput id={id('claim')} label="Name of the volume" style={{ flex: '1 1 160px' }} spellCheck={false} value={volume.claim} onChange={(event) => change(volume.id, { claim: event.currentTarget.value })} error={wrong('claim')} />
                    <NumberInput id={id('size')} label="Size in GiB" w={100} min={1} value={volume.size} onChange={(value) => change(volume.id, { size: asNumber(value) })} error={wrong('size')} />
                  </>
                ) : (
                  <NativeSelect id={id('claim')} label="Which" style={{ flex: '1 1 160px' }} value={volume.claim} onChange={(event) => change(volume.id, { claim: event.currentTarget.value })} data={[{ value: '', label: 'Choose…' }, ...claims.map((claim) => ({ value: claim, label: claim }))]} error={wrong('claim')} />
                )}
                <TextInput id={id('path')} label="Mounted at" style={{ flex: '1 1 180px' }} spellCheck={false} value={volume.path} onChange={(event) => change(volume.id, { path: event.currentTarget.value })} error={wrong('path')} />
              </Group>
              <Group justify="space-between" mt={8}>
                <Checkbox size="xs" label="Read only" checked={volume.readOnly} onChange={(event) => change(volume.id, { readOnly: event.currentTarget.checked })} />
                <Button size="compact-xs" variant="default" aria-label={`Remove data volume ${i + 1}`} onClick={() => set({ data: form.data.filter((each) => each.id !== volume.id) })}>Remove</Button>
              </Group>
            </fieldset>
          );
        })}
        <div><Button variant="default" leftSection={<IconPlus size={14} aria-hidden />} onClick={add}>Add a volume</Button></div>
      </Stack>
    </Part>
  );
}

function Variables({ form, set, problems }: RowsProps) {
  const change = (id: number, patch: { name?: string; value?: string }) => set({ env: form.env.map((each) => (each.id === id ? { ...each, ...patch } : each)) });
  return (
    <Part title="Environment variables">
      <Stack gap="xs">
        {form.env.map((variable, i) => (
          <Group key={variable.id} gap="xs" align="flex-start" wrap="nowrap">
            <TextInput id={`notebook-env.${variable.id}.name`} aria-label={`Name of variable ${i + 1}`} placeholder="NAME" style={{ flex: 1 }} spellCheck={false} value={variable.name} onChange={(event) => change(variable.id, { name: event.currentTarget.value })} error={problems[`env.${variable.id}.name`]} />
            <TextInput aria-label={`Value of variable ${i + 1}`} placeholder="value" style={{ flex: 2 }} spellCheck={false} value={variable.value} onChange={(event) => change(variable.id, { value: event.currentTarget.value })} />
            <CloseButton mt={4} aria-label={`Remove variable ${i + 1}`} onClick={() => set({ env: form.env.filter((each) => each.id !== variable.id) })} />
          </Group>
        ))}
        <div><Button variant="default" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => set({ env: [...form.env, { id: nextId(form.env), name: '', value: '' }] })}>Add a variable</Button></div>
      </Stack>
    </Part>
  );
}
