// What can be done with a run now: only actions that make sense in its state.
import { ActionIcon, Button, Menu } from '@mantine/core';
import { IconArchive, IconArchiveOff, IconCopyPlus, IconDots, IconPlayerStop, IconRefresh, IconTrash } from '@tabler/icons-react';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { kfp } from '../api/kfp';
import type { CreateRunRequest, KfpRun, RunObject } from '../api/types';
import { title } from '../lib/runs';
import { actionsFor } from '../lib/state';
import { curlGet, curlPost, pythonGetRun, pythonStartRun } from '../lib/snippets';
import { CopyAs } from './CopyAs';
import { attempt, useConfirm } from './feedback';
import { LinkButton } from './LinkButton';

export function RunActionBar({ run, details }: { run: RunObject; details?: KfpRun }) {
  const id = run.metadata.name;
  const name = title(run);
  const can = actionsFor(run);
  const confirm = useConfirm();
  const navigate = useNavigate();
  const [busy, setBusy] = useState(false);
  const act = async (action: 'terminate' | 'retry' | 'archive' | 'unarchive', done: string) => {
    setBusy(true);
    await attempt(() => kfp.runAction(id, action), done, `The run could not be ${done.replace(/^.* (was|is) /, '').replace(/\.$/, '')}`);
    setBusy(false);
  };
  const terminate = async () => {
    const yes = await confirm({ title: 'Terminate this run?', body: 'Running steps are stopped and no further step starts. What has finished stays.', confirm: 'Terminate the run' });
    if (yes) await act('terminate', `${name} is terminated.`);
  };
  const remove = async () => {
    const yes = await confirm({ title: 'Delete this run?', body: 'Its record, steps and logs are removed for good.', confirm: 'Delete the run' });
    if (!yes) return;
    const ok = await attempt(() => kfp.deleteRun(id), `${name} was deleted.`, 'The run could not be deleted');
    if (ok) await navigate({ to: '/runs', search: {} });
  };

  const origin = window.location.origin;
  const reference = run.spec.pipelineVersionReference;
  const again: CreateRunRequest = {
    display_name: `Clone of ${name}`,
    experiment_id: run.spec.experimentId,
    ...(reference?.pipelineId !== undefined && reference.pipelineVersionId !== undefined
      ? { pipeline_version_reference: { pipeline_id: reference.pipelineId, pipeline_version_id: reference.pipelineVersionId } }
      : { pipeline_spec: details?.pipeline_spec }),
    runtime_config: { parameters: run.spec.runtimeConfig?.parameters ?? {} },
  };

  return (
    <>
      {can.terminate && (
        <Button variant="default" loading={busy} leftSection={<IconPlayerStop size={15} aria-hidden />} onClick={() => void terminate()}>Terminate</Button>
      )}
      {can.retry && (
        <Button loading={busy} leftSection={<IconRefresh size={15} aria-hidden />} onClick={() => void act('retry', `${name} is retried.`)}>Retry</Button>
      )}
      {can.unarchive && (
        <Button variant="default" loading={busy} leftSection={<IconArchiveOff size={15} aria-hidden />} onClick={() => void act('unarchive', `${name} was restored.`)}>Restore</Button>
      )}
      <LinkButton to="/runs/new" search={{ clone: id }} variant="default" leftSection={<IconCopyPlus size={15} aria-hidden />}>Clone</LinkButton>
      <CopyAs
        snippets={[
          { label: 'Get this run with curl', kind: 'curl', text: curlGet(origin, `/apis/v2beta1/runs/${id}`) },
          { label: 'Start it again with curl', kind: 'curl', text: curlPost(origin, '/apis/v2beta1/runs', again) },
          { label: 'Get this run with Python', kind: 'python', text: pythonGetRun(origin, id) },
          { label: 'Start it again with Python', kind: 'python', text: pythonStartRun(origin, again) },
        ]}
      />
      {(can.archive || can.remove) && (
        <Menu position="bottom-end">
          <Menu.Target><ActionIcon size={30} variant="default" aria-label="More actions"><IconDots size={16} aria-hidden /></ActionIcon></Menu.Target>
          <Menu.Dropdown>
            {can.archive && <Menu.Item leftSection={<IconArchive size={15} aria-hidden />} onClick={() => void act('archive', `${name} was archived.`)}>Archive</Menu.Item>}
            {can.remove && <Menu.Item leftSection={<IconTrash size={15} aria-hidden />} onClick={() => void remove()}>Delete</Menu.Item>}
          </Menu.Dropdown>
        </Menu>
      )}
    </>
  );
}
