// One artifact, rendered by its type. Nothing a step wrote ever runs in this page: HTML goes into a sandboxed frame of
// opaque origin, Markdown becomes elements without any HTML of its own.
import { Anchor, Badge, Code, Group, Stack, Table, Text } from '@mantine/core';
import { IconDownload, IconExternalLink } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { lazy, Suspense } from 'react';
import type { Artifact } from '../api/types';
import { artifactUrl, confusionMatrix, rocCurve, scalars, shortType, viewOf } from '../lib/artifacts';
import { value } from '../lib/format';
import { CopyButton } from './CopyAs';
import { Matrix, Roc } from './Metrics';
import { Loading } from './Page';
import classes from './ArtifactView.module.css';
import { patient } from '../lib/chunk';

const Markdown = lazy(patient(() => import('./Markdown')));

interface Props {
  name: string;
  artifact: Artifact;
  /** Renders content in place; without it only name, type and links are shown. */
  render?: boolean;
}

export function ArtifactView({ name, artifact, render = true }: Props) {
  const url = artifactUrl(artifact.uri);
  const view = viewOf(artifact);
  const file = view !== 'metrics' && view !== 'classification';
  return (
    <Stack gap={6} className={classes.artifact}>
      <Group gap="xs" wrap="wrap">
        <Text fw={600} size="sm">{name}</Text>
        <Badge variant="default" size="sm" radius="sm" tt="none" fw={500}>{shortType(artifact.type)}</Badge>
        {file && url !== undefined && (
          <Group gap="sm" ml="auto">
            {(view === 'html' || view === 'markdown') && (
              <Anchor href={url} target="_blank" rel="noreferrer" size="xs" className={classes.action}>
                <IconExternalLink size={13} aria-hidden /> Open
              </Anchor>
            )}
            <Anchor href={url} download size="xs" className={classes.action}>
              <IconDownload size={13} aria-hidden /> Download
            </Anchor>
          </Group>
        )}
      </Group>
      {file && artifact.uri !== undefined && (
        <Group gap={4} wrap="nowrap">
          <Code className={classes.uri}>{artifact.uri}</Code>
          <CopyButton text={artifact.uri} label="Copy the URI" />
          <Link to="/lineage" search={{ of: artifact.uri }} className="kf-link" style={{ fontSize: 'var(--mantine-font-size-xs)' }}>Lineage</Link>
        </Group>
      )}
      {render && <Content name={name} artifact={artifact} url={url} />}
    </Stack>
  );
}

function Content({ name, artifact, url }: { name: string; artifact: Artifact; url: string | undefined }) {
  const view = viewOf(artifact);
  if (view === 'html' && url !== undefined) {
    return <iframe className={classes.html} sandbox="allow-scripts" src={url} title={`HTML of ${name}`} referrerPolicy="no-referrer" />;
  }
  if (view === 'markdown' && url !== undefined) {
    return (
      <Suspense fallback={<Loading what="the text" />}>
        <Markdown url={url} />
      </Suspense>
    );
  }
  if (view === 'classification') {
    const matrix = confusionMatrix(artifact.metadata);
    const roc = rocCurve(artifact.metadata);
    return (
      <Stack gap="md">
        <Group gap="xl" align="flex-start">
          {matrix !== undefined && <Matrix matrix={matrix} caption={`Confusion matrix of ${name}`} />}
          {roc !== undefined && <Roc points={roc} />}
        </Group>
        {matrix === undefined && roc === undefined && <Text size="sm" c="dimmed">The step logged no confusion matrix and no curve.</Text>}
        <Scalars artifact={artifact} label={name} quiet />
      </Stack>
    );
  }
  return <Scalars artifact={artifact} label={name} quiet={view !== 'metrics'} />;
}

function Scalars({ artifact, label, quiet }: { artifact: Artifact; label: string; quiet: boolean }) {
  const rows = scalars(artifact.metadata);
  if (rows.length === 0) return quiet ? null : <Text size="sm" c="dimmed">The step logged no values.</Text>;
  return (
    <Table withTableBorder w="auto" verticalSpacing={4} className={classes.metrics} aria-label={`Values of ${label}`}>
      <Table.Tbody>
        {rows.map(([key, json]) => (
          <Table.Tr key={key}>
            <Table.Th scope="row" fw={500}>{key}</Table.Th>
            <Table.Td ta={typeof json === 'number' ? 'right' : undefined}>{value(json)}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
