// Experiments and the list of runs: created, filled, paged, archived, restored, deleted.
import type { APIRequestContext } from '@playwright/test';
import { readFileSync } from 'node:fs';
import { expect, expectAccessible, FIXTURE, fresh, showStored, test } from './box';

interface Made {
  pipeline_id: string;
  pipeline_version_id: string;
  experiment_id: string;
}

/** Sets the scene through the API, as someone else would. */
const box = (api: APIRequestContext, origin = '') => {
  const post = async (path: string, body: Parameters<APIRequestContext['post']>[1]) => {
    const answer = await api.post(`/apis/v2beta1/${path}`, { ...body, headers: { Origin: origin } });
    expect(answer.ok(), await answer.text()).toBe(true);
    return (await answer.json()) as Made;
  };
  return {
    experiment: async (name: string) => (await post('experiments', { data: { display_name: name, description: 'Made by a test.' } })).experiment_id,
    upload: (name: string) =>
      post(`pipelines/upload?name=${name}`, { multipart: { uploadfile: { name: 'steps.yaml', mimeType: 'application/yaml', buffer: readFileSync(FIXTURE) } } }),
    run: ({ pipeline_id }: Made, experiment: string, name: string) =>
      post('runs', { data: { display_name: name, experiment_id: experiment, pipeline_version_reference: { pipeline_id }, runtime_config: { parameters: { seconds: 0 } } } }),
  };
};

test('an experiment is created, archived, restored and deleted', async ({ user }) => {
  const name = fresh('experiment');
  await user.goto('/experiments');
  await user.getByRole('button', { name: 'New experiment' }).click();
  const dialog = user.getByRole('dialog', { name: 'New experiment' });
  await dialog.getByLabel('Name').fill('Default');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await expect(dialog.getByRole('alert')).toContainText('already exists');
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByLabel('Description').fill('To see whether deeper is better.');
  await expectAccessible(user, 'the dialog of a new experiment');
  await dialog.getByRole('button', { name: 'Create' }).click();

  const main = user.getByRole('main');
  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(main).toContainText('To see whether deeper is better.');
  await expect(main).toContainText('No runs in this experiment yet');
  await expectAccessible(user, 'the page of an experiment');
  await main.getByRole('link', { name: 'New run' }).first().click();
  await expect(user).toHaveURL(/\/runs\/new\?experiment=/);
  await expect(user.getByRole('heading', { level: 1, name: 'Start a run' })).toBeVisible();
  await user.goBack();

  await user.getByRole('button', { name: 'Archive' }).click();
  await user.getByRole('button', { name: 'Archive the experiment' }).click();
  await expect(main.locator('[data-storage-state]')).toHaveText('Archived');
  await expect(main.getByRole('link', { name: 'New run' })).toHaveCount(0);

  await user.goto('/experiments');
  await expect(user.getByRole('link', { name: 'Default' })).toBeVisible();
  await expect(user.getByRole('link', { name })).toHaveCount(0);
  await showStored(user, 'Archived');
  const actions = user.getByRole('button', { name: `Actions on ${name}` });
  await actions.click();
  await user.getByRole('menuitem', { name: 'Restore' }).click();
  await expect(actions).toHaveCount(0);
  await showStored(user, 'Active');
  await expectAccessible(user, 'the list of experiments');

  await actions.click();
  await user.getByRole('menuitem', { name: 'Delete' }).click();
  await expect(user.getByRole('dialog')).toContainText('It has no runs.');
  await user.getByRole('button', { name: 'Delete the experiment' }).click();
  await expect(actions).toHaveCount(0);
  await user.getByRole('button', { name: 'Actions on Default' }).click();
  await user.getByRole('menuitem', { name: 'Delete' }).click();
  await user.getByRole('button', { name: 'Delete the experiment' }).click();
  await expect(user.getByText(/the Default experiment cannot be deleted/)).toBeVisible();
});

test('the runs of an experiment come in pages, newest first and live, and go with it into the archive', async ({ user, api, baseURL }) => {
  const scene = box(api, baseURL);
  const pipeline = await scene.upload(fresh('paged'));
  const experiment = await scene.experiment(fresh('paged'));
  const runs = [1, 2, 3].map((n) => fresh(`paged-${n}`));
  const [first = '', second = '', third = ''] = runs;
  await scene.run(pipeline, experiment, first);
  await scene.run(pipeline, experiment, second);

  await user.goto(`/experiments/${experiment}?size=2`);
  const table = user.getByRole('table', { name: 'Runs' });
  const shown = table.getByRole('row').filter({ has: user.getByRole('cell') });
  const pages = user.getByRole('navigation', { name: 'Pages of runs' });
  const selection = user.getByRole('toolbar', { name: 'Actions on the selection' });
  await expect(shown).toContainText([second, first]);
  await expect(pages).toHaveCount(0);
  // Someone else starts one: it comes to the top by itself, and the oldest moves to the second page.
  await scene.run(pipeline, experiment, third);
  await expect(shown).toContainText([third, second]);
  await expect(pages).toContainText('1–2 of 3');
  await expectAccessible(user, 'a page of runs');
  await pages.getByRole('button', { name: 'Next page' }).click();
  await expect(shown).toContainText([first]);
  await expect(pages).toContainText('Page 2 of 2');
  await user.reload();
  await expect(shown).toContainText([first]);
  await expect(pages.getByRole('button', { name: 'Next page' })).toBeDisabled();
  await pages.getByRole('button', { name: 'Previous page' }).click();
  await expect(shown).toContainText([third, second]);
  await user.getByRole('button', { name: 'Run', exact: true }).click();
  await expect(shown).toContainText([first, second]);

  await user.getByLabel('Filter by name').fill(second.toUpperCase());
  await expect(shown).toContainText([second]);
  await user.getByLabel('State').selectOption('SUCCEEDED');
  await expect(shown).toContainText(['Succeeded'], { timeout: 60_000 });

  // One run goes into the archive, then the rest with their experiment.
  await user.getByRole('checkbox', { name: `Select ${second}` }).check();
  await selection.getByRole('button', { name: 'Archive' }).click();
  await expect(user.getByText('No run matches')).toBeVisible();
  await user.goto(`/experiments/${experiment}?archived=true`);
  await expect(shown).toContainText([second]);
  await user.getByRole('button', { name: 'Archive', exact: true }).click();
  await expect(user.getByRole('dialog')).toContainText('Its runs (3 in all) are archived with it');
  await user.getByRole('button', { name: 'Archive the experiment' }).click();
  await expect(shown).toHaveCount(3);
  await user.getByRole('checkbox', { name: `Select ${second}` }).check();
  await selection.getByRole('button', { name: 'Restore' }).click();
  await expect(user.getByText(/unarchive the experiment first/)).toBeVisible();

  // Deleting the experiment leaves its runs, which their own pages restore and delete.
  await user.getByRole('button', { name: 'Delete', exact: true }).first().click();
  await user.getByRole('button', { name: 'Delete the experiment' }).click();
  await expect(user.getByRole('heading', { level: 1, name: 'Experiments' })).toBeVisible();
  await user.goto(`/runs?archived=true&q=${second}`);
  await user.getByRole('link', { name: second }).click();
  await user.getByRole('button', { name: 'Restore' }).click();
  await expect(user.getByRole('button', { name: 'Restore' })).toHaveCount(0);
  await user.getByRole('button', { name: 'More actions' }).click();
  await user.getByRole('menuitem', { name: 'Delete' }).click();
  await user.getByRole('button', { name: 'Delete the run' }).click();
  await expect(user.getByRole('heading', { level: 1, name: 'Runs' })).toBeVisible();
});
