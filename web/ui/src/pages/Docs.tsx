// A short help page: what is where, how to get in, which keys work. No link leads off the box.
import { Code, Kbd, Stack, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { Page } from '../components/Page';
import { FirstSteps } from '../components/FirstSteps';

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section aria-label={title}>
      <Title order={2} mb={6}>{title}</Title>
      <Text component="div" size="sm" maw="76ch" lh={1.6} className="kf-prose">{children}</Text>
    </section>
  );
}

export function Docs() {
  return (
    <Page title="Docs" subtitle="The essentials, on one page.">
      <Stack gap="lg" maw={860}>
        <Part title="The words">
          <dl className="kf-facts">
            <dt>Pipeline</dt><dd>A graph of steps, written in Python with the kfp SDK and compiled to YAML. It has versions.</dd>
            <dt>Run</dt><dd>One execution of a pipeline with given parameters. It keeps its logs, metrics and files.</dd>
            <dt>Step</dt><dd>One container of a run. Its inputs and outputs are parameters (small values) and artifacts (files).</dd>
            <dt>Experiment</dt><dd>A named group of runs.</dd>
            <dt>Cached</dt><dd>The step was not run again, because an earlier run did the same with the same inputs.</dd>
          </dl>
        </Part>
        <Part title="Getting in">
          <Code>kfbox token login</Code> prints a one-time link for the browser. <Code>kfbox token create --user you</Code>{' '}
          makes a token for programs; give it to them as <Code>KFBOX_TOKEN</Code> and to <Code>kfp.Client</Code> as <Code>existing_token</Code>.
        </Part>
        <FirstSteps pipelines={0} />
        <Part title="Notebooks">
          A notebook is a server to work in, such as JupyterLab. <Link to="/notebooks/new" className="kf-link">New notebook</Link>{' '}
          asks for its image, CPU and memory; it waits when the box has no room. Open leads to it, in a new tab and on an origin of
          its own. Stop frees its room and keeps its volumes; one with an idle time-out is stopped by the box, and starts again when
          it is opened. In it <Code>kfp.Client()</Code>, boto3 and MLflow are signed in. Programs elsewhere, such as VS Code, reach it
          at the address on its page, with a token.
        </Part>
        <Part title="From the command line">
          <dl className="kf-facts">
            <dt className="kf-mono">kfbox run FILE -p key=value --follow</dt><dd>Run a compiled pipeline and watch it.</dd>
            <dt className="kf-mono">kfbox runs</dt><dd>List runs.</dd>
            <dt className="kf-mono">kfbox logs</dt><dd>Read a step's log.</dd>
            <dt className="kf-mono">kfbox notebook create NAME</dt><dd>Make a notebook and print its address.</dd>
            <dt className="kf-mono">kfbox status</dt><dd>How the box is.</dd>
            <dt className="kf-mono">kfbox doctor</dt><dd>Find out what is wrong with it.</dd>
          </dl>
        </Part>
        <Part title="When a run fails">
          Open the run and choose the step marked Failed: its message says why, and Logs jumps to the first error. <b>Retry</b>{' '}
          runs only what did not succeed; <b>Clone</b> starts anew with other parameters.{' '}
          <Link to="/runs" search={{ state: 'FAILED' }} className="kf-link">Show the failed runs</Link>.
        </Part>
        <Part title="Keys">
          <dl className="kf-facts">
            <dt><Kbd>Ctrl</Kbd> + <Kbd>K</Kbd></dt><dd>Find runs, pipelines and actions.</dd>
            <dt><Kbd>Tab</Kbd>, <Kbd>Enter</Kbd></dt><dd>Walk through the graph and open a step.</dd>
            <dt><Kbd>Enter</Kbd>, <Kbd>Shift</Kbd> + <Kbd>Enter</Kbd></dt><dd>Next and previous match in a log's search.</dd>
          </dl>
        </Part>
      </Stack>
    </Page>
  );
}
