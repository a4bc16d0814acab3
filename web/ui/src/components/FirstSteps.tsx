// What to do on a box where nothing has run: three ways in, all short.
import { Code, Group, Stack, Text, Title } from '@mantine/core';
import { CopyButton } from './CopyAs';
import { LinkButton } from './LinkButton';
import { plural } from '../lib/format';

export function FirstSteps({ pipelines }: { pipelines: number }) {
  const python = `import os
import kfp
from kfp import dsl

@dsl.component
def hello(name: str) -> str:
    print(f"Hello, {name}!")
    return name

@dsl.pipeline
def first(name: str = "box"):
    hello(name=name)

client = kfp.Client(host="${window.location.origin}", existing_token=os.environ["KFBOX_TOKEN"])
client.create_run_from_pipeline_func(first)`;
  return (
    <Stack gap="md" maw={860}>
      <section className="kf-card" style={{ padding: 18 }} aria-label="From the browser">
        <Title order={2} mb={4}>From the browser</Title>
        <Text size="sm" c="dimmed" mb="sm">
          {pipelines === 0
            ? 'Upload a pipeline that was compiled with the kfp SDK (one YAML file), then start a run of it.'
            : `There ${pipelines === 1 ? 'is' : 'are'} ${plural(pipelines, 'pipeline')} on the box. Start a run of ${pipelines === 1 ? 'it' : 'one'}.`}
        </Text>
        <Group gap="xs">
          <LinkButton to="/pipelines" search={{ upload: true }} variant={pipelines === 0 ? 'filled' : 'default'}>Upload a pipeline</LinkButton>
          {pipelines > 0 && <LinkButton to="/runs/new">Start a run</LinkButton>}
        </Group>
      </section>
      <section className="kf-card" style={{ padding: 18 }} aria-label="In a notebook">
        <Title order={2} mb={4}>In a notebook</Title>
        <Text size="sm" c="dimmed" mb="sm">JupyterLab on the box, signed in to its pipelines, buckets and tracking: kfp.Client() works as it is.</Text>
        <LinkButton to="/notebooks/new" variant="default">New notebook</LinkButton>
      </section>
      <section className="kf-card" style={{ padding: 18 }} aria-label="From Python">
        <Group justify="space-between">
          <Title order={2}>From Python</Title>
          <CopyButton text={python} label="Copy the code" />
        </Group>
        <Text size="sm" c="dimmed" mb="sm">With the unmodified kfp SDK (<Code>pip install kfp</Code>) and a token from <Code>kfbox token create</Code> in KFBOX_TOKEN:</Text>
        <Code block tabIndex={0}>{python}</Code>
      </section>
    </Stack>
  );
}
