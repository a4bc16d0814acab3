// Which namespace the jobs, volumes and buckets pages show; the URL holds it. Pipelines live in the box's own.
import { Badge, NativeSelect, Tooltip } from '@mantine/core';
import { useNavigate, useRouterState } from '@tanstack/react-router';
import { NAMESPACE } from '../api/hooks';
import { useNamespaces } from '../api/kube';
import classes from './Shell.module.css';

export function NamespacePicker() {
  const location = useRouterState({ select: (state) => state.location });
  const many = /^\/(jobs|volumes|buckets)(\/|$)/.exec(location.pathname);
  if (many === null) {
    return (
      <Tooltip label="The namespace of this box">
        <Badge variant="default" size="sm" radius="sm" tt="none" fw={500} className={classes.namespace}>{NAMESPACE}</Badge>
      </Tooltip>
    );
  }
  const inPath = /^\/jobs\/([^/]+)\/[^/]+\/[^/]+|^\/buckets\/([^/]+)\/[^/]+/.exec(location.pathname)?.slice(1).find((part) => part !== undefined);
  const current = inPath ?? (location.search as { ns?: string }).ns ?? NAMESPACE;
  return <Picker current={current} to={many[1] === 'volumes' ? '/volumes' : many[1] === 'buckets' ? '/buckets' : '/jobs'} />;
}

function Picker({ current, to }: { current: string; to: '/jobs' | '/volumes' | '/buckets' }) {
  const navigate = useNavigate();
  const names = (useNamespaces().items ?? []).map((each) => each.metadata.name);
  const all = [...new Set([current, NAMESPACE, ...names])].sort();
  return (
    <NativeSelect
      aria-label="Namespace"
      size="xs"
      value={current}
      data={all}
      onChange={(event) => void navigate({ to, search: { ns: event.currentTarget.value } })}
    />
  );
}
