// Experiments, runs, curves and models as a person looks at them while MLflow's clients write.
import type { APIRequestContext } from '@playwright/test';
import { expect, expectAccessible, fresh, test } from './box';

/** MLflow's API as a client calls it. */
function mlflow(api: APIRequestContext, origin: string) {
  return async <T>(call: string, body: object): Promise<T> => {
    const answer = await api.post(`/mlflow/kubeflow/api/2.0/mlflow/${call}`, { headers: { Origin: origin }, data: body });
    expect(answer.ok(), await answer.text()).toBe(true);
    return (await answer.json()) as T;
  };
}

type Made = { run: { info: { run_id: string } } };

async function experiment(post: ReturnType<typeof mlflow>, name: string, runs: string[]): Promise<{ id: string; runs: string[] }> {
  const { experiment_id: id } = await post<{ experiment_id: string }>('experiments/create', { name });
  const ids: string[] = [];
  for (const [i, runName] of runs.entries()) {
    const { run } = await post<Made>('runs/create', { experiment_id: id, run_name: runName, start_time: Date.now(), tags: [{ key: 'team', value: 'vision' }] });
    const metrics = Array.from({ length: 20 }, (_, step) => ({ key: 'loss', value: 2 / (step + 1 + i), step, timestamp: Date.now() + step * 1000 }));
    await post('runs/log-batch', {
      run_id: run.info.run_id,
      metrics: [...metrics, { key: 'accuracy', value: 0.5 + i / 10, step: 0, timestamp: Date.now() }],
      params: [{ key: 'rate', value: `0.${i + 1}` }, { key: 'layers', value: '3' }],
    });
    ids.push(run.info.run_id);
  }
  return { id, runs: ids };
}

test('runs are searched, sorted, compared, deleted and restored', async ({ user, api, baseURL }) => {
  const post = mlflow(api, baseURL ?? '');
  const name = fresh('digits');
  await user.goto('/tracking');
  await user.getByRole('button', { name: 'Create an experiment' }).click();
  const dialog = user.getByRole('dialog');
  await dialog.getByLabel('Name').fill('Default');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await expect(dialog.getByRole('alert')).toContainText('already exists');
  await dialog.getByRole('button', { name: 'Cancel' }).click();

  // Made meanwhile, and there without a reload.
  const made = await experiment(post, name, ['first', 'second', 'third']);
  await expect(user.getByRole('link', { name })).toBeVisible();
  await expectAccessible(user, 'the list of experiments');
  await user.getByRole('link', { name }).click();
  const table = user.getByRole('table', { name: 'Tracked runs' });
  await expect(table.getByRole('row')).toHaveCount(4);
  await table.getByRole('button', { name: 'accuracy' }).click();
  await expect(table.getByRole('link')).toHaveText(['first', 'second', 'third']);
  await table.getByRole('button', { name: 'accuracy' }).click();
  await expect(table.getByRole('link')).toHaveText(['third', 'second', 'first']);
  await expectAccessible(user, 'the runs of an experiment');

  const find = user.getByLabel('Search the runs');
  await find.fill("metrics.accuracy > 0.55 and params.rate = '0.2'");
  await find.press('Enter');
  await expect(table.getByRole('link')).toHaveText(['second']);
  await find.fill('metrics.accuracy >');
  await find.press('Enter');
  await expect(user.getByRole('alert')).toContainText('filter');
  await find.fill('');
  await find.press('Enter');
  await expect(table.getByRole('row')).toHaveCount(4);

  await user.getByRole('button', { name: 'Columns' }).click();
  await user.getByRole('option', { name: 'tags.team' }).click();
  await user.keyboard.press('Escape');
  await expect(table.getByRole('columnheader', { name: 'team' })).toBeVisible();
  expect(user.url()).toContain('tags.team');

  await user.getByRole('checkbox', { name: 'Select first' }).check();
  await user.getByRole('checkbox', { name: 'Select third' }).check();
  await user.getByRole('button', { name: 'Compare' }).click();
  const curves = user.getByRole('figure', { name: 'Curves of loss' });
  await expect(curves.locator('canvas')).toBeVisible();
  await expect(curves.getByRole('row', { name: /^third 0\.0909/ })).toBeVisible();
  await expectAccessible(user, 'curves side by side');
  await user.getByRole('tab', { name: 'Values' }).click();
  const values = user.getByRole('table', { name: 'Values side by side' });
  await expect(values.getByRole('row', { name: 'rate 0.3 0.1' })).toBeVisible();
  await expect(values.getByRole('row', { name: /^layers/ })).toHaveCount(0);
  await user.getByRole('switch', { name: 'Also what is the same in all' }).click();
  await expect(values.getByRole('row', { name: 'layers 3 3' })).toBeVisible();
  await expectAccessible(user, 'values side by side');

  await user.goto(`/tracking/kubeflow/experiments/${made.id}`);
  await user.getByRole('checkbox', { name: 'Select second' }).check();
  await user.getByRole('toolbar', { name: 'Actions on the selection' }).getByRole('button', { name: 'Delete' }).click();
  await user.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(table.getByRole('row')).toHaveCount(3);
  await user.getByRole('radiogroup', { name: 'Active or archived' }).getByText('Archived').click();
  await expect(table.getByRole('link')).toHaveText(['second']);
  await user.getByRole('checkbox', { name: 'Select second' }).check();
  await user.getByRole('button', { name: 'Restore' }).click();
  await expect(user.getByText('No deleted runs')).toBeVisible();
});

test('a run shows its curves while it goes on, its files, and the link that the client prints leads to it', async ({ user, api, baseURL }) => {
  const post = mlflow(api, baseURL ?? '');
  const made = await experiment(post, fresh('live'), ['going']);
  const run = made.runs[0] ?? '';
  await user.goto(`/mlflow/kubeflow/#/experiments/${made.id}/runs/${run}`);
  await expect(user.getByRole('heading', { level: 1, name: 'going' })).toBeVisible();
  await expect(user.getByRole('table', { name: 'Parameters' }).getByRole('row', { name: 'rate 0.1' })).toBeVisible();
  await expectAccessible(user, 'a tracked run');
  await user.getByRole('tab', { name: 'Curves' }).click();
  const curves = user.getByRole('figure', { name: 'Curves of loss' });
  await expect(curves.getByRole('row', { name: 'going 0.1 0.1 2' })).toBeVisible();
  await post('runs/log-metric', { run_id: run, key: 'loss', value: 0.01, step: 20, timestamp: Date.now() });
  await expect(curves.getByRole('row', { name: 'going 0.01 0.01 2' })).toBeVisible();
  await user.getByRole('switch', { name: 'Logarithmic' }).click();
  await expect(curves.locator('canvas')).toBeVisible();
  await expectAccessible(user, 'curves of a run');

  await user.getByRole('tab', { name: 'Files' }).click();
  await expect(user.getByText('No files')).toBeVisible();
  const put = await api.put(`/mlflow/kubeflow/api/2.0/mlflow-artifacts/artifacts/${made.id}/${run}/artifacts/plots/note.txt`, { headers: { Origin: baseURL ?? '' }, data: 'seen' });
  expect(put.ok(), await put.text()).toBe(true);
  await user.getByRole('button', { name: 'plots/' }).click();
  await expectAccessible(user, 'files of a run');
  await user.getByRole('link', { name: 'note.txt' }).click();
  await expect(user.getByRole('dialog').getByLabel('Preview')).toHaveText('seen');

  await post('runs/update', { run_id: run, status: 'FINISHED', end_time: Date.now() });
  await user.goto(`/tracking/kubeflow/runs/${run}`);
  await expect(user.locator('[data-state=FINISHED]')).toBeVisible();
});

test('a logged model is registered, gets an alias and a stage, and goes', async ({ user, api, baseURL }) => {
  const post = mlflow(api, baseURL ?? '');
  const made = await experiment(post, fresh('models'), ['maker']);
  const run = made.runs[0] ?? '';
  const { model } = await post<{ model: { info: { model_id: string } } }>('logged-models', { experiment_id: made.id, name: 'clf', source_run_id: run });
  await post('runs/outputs', { run_id: run, models: [{ model_id: model.info.model_id, step: 0 }] });
  const name = fresh('flowers');
  await user.goto('/models');
  await expectAccessible(user, 'the registry');
  await user.goto(`/tracking/kubeflow/runs/${run}`);
  await user.getByRole('button', { name: 'Register' }).click();
  await user.getByRole('dialog').getByLabel('Name').fill('a/b');
  await user.getByRole('dialog').getByRole('button', { name: 'Register' }).click();
  await expect(user.getByRole('dialog').getByRole('alert')).toContainText('name');
  await user.getByRole('dialog').getByLabel('Name').fill(name);
  await user.getByRole('dialog').getByRole('button', { name: 'Register' }).click();
  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  const versions = user.getByRole('table', { name: 'Versions' });
  await expect(versions.getByRole('row')).toHaveCount(2);
  await user.getByRole('button', { name: 'Actions on version 1' }).click();
  await user.getByRole('menuitem', { name: 'Set an alias…' }).click();
  await user.getByRole('dialog').getByLabel('Alias').fill('v1');
  await user.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await expect(user.getByRole('dialog').getByRole('alert')).toContainText('alias');
  await user.getByRole('dialog').getByLabel('Alias').fill('champion');
  await user.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await expect(versions.getByText('@champion')).toBeVisible();
  await user.getByRole('button', { name: 'Actions on version 1' }).click();
  await user.getByRole('menuitem', { name: 'Production' }).click();
  await expect(versions.getByRole('cell', { name: 'Production' })).toBeVisible();
  await user.getByRole('button', { name: 'Describe', exact: true }).click();
  await user.getByRole('dialog').getByLabel('Description').fill('Tells flowers apart.');
  await user.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await expect(user.getByText('Tells flowers apart.')).toBeVisible();
  await expectAccessible(user, 'a model');
  // What another client registers is there without a reload.
  await post('model-versions/create', { name, source: 's3://models/flowers/2' });
  await expect(versions.getByRole('row')).toHaveCount(3);
  await versions.getByRole('link', { name: run.slice(0, 8) }).click();
  await expect(user.getByRole('link', { name: `${name}, version 1` })).toBeVisible();
  await user.goto('/models');
  await expect(user.getByRole('row', { name: new RegExp(`${name}.*champion`) })).toBeVisible();
  await user.getByRole('link', { name }).click();
  await user.getByRole('button', { name: 'Delete', exact: true }).click();
  await user.getByRole('button', { name: 'Delete the model' }).click();
  await expect(user.getByRole('heading', { level: 1, name: 'Models' })).toBeVisible();
  await expect(user.getByRole('link', { name })).toHaveCount(0);
});
