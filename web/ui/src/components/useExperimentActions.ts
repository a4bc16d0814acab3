// What can be done with an experiment, in its list and on its page: with what becomes of its runs said beforehand.
import { kfp } from '../api/kfp';
import { queryClient } from '../api/queryClient';
import type { KfpExperiment } from '../api/types';
import { attempt, useConfirm } from './feedback';

export const nameOf = (experiment: KfpExperiment): string => experiment.display_name ?? experiment.experiment_id;
export const isPutAway = (experiment: KfpExperiment): boolean => experiment.storage_state === 'ARCHIVED';

/** What becomes of its runs, with their number when it can be had. */
async function ofRuns(experiment: KfpExperiment, fate: string): Promise<string> {
  const count = await kfp.runs({ experiment_id: experiment.experiment_id, page_size: 1 }).then((page) => page.total_size ?? 0, () => undefined);
  return count === 0 ? 'It has no runs.' : `Its runs${count === undefined ? '' : ` (${count} in all)`} ${fate}`;
}

export function useExperimentActions(experiment: KfpExperiment) {
  const confirm = useConfirm();
  const id = experiment.experiment_id;
  const name = nameOf(experiment);
  const run = async (action: () => Promise<unknown>, done: string, failed: string) => {
    const ok = await attempt(action, done, failed);
    if (ok) await queryClient.invalidateQueries({ queryKey: ['experiments'], exact: true });
    return ok;
  };
  return {
    archive: async () => {
      const body = `${await ofRuns(experiment, 'are archived with it; those that have not ended go on.')} Nothing is deleted, and no run can start in it until it is restored.`;
      if (!(await confirm({ title: `Archive ${name}?`, body, confirm: 'Archive the experiment' }))) return;
      await run(() => kfp.experimentAction(id, 'archive'), `${name} was archived.`, 'The experiment could not be archived');
    },
    restore: () => run(() => kfp.experimentAction(id, 'unarchive'), `${name} was restored. Its runs stay archived until you restore them.`, 'The experiment could not be restored'),
    /** True when it is gone. */
    remove: async () => {
      const body = `${await ofRuns(experiment, 'stay, and are found under Runs, without an experiment.')} The experiment itself is removed for good.`;
      if (!(await confirm({ title: `Delete ${name}?`, body, confirm: 'Delete the experiment' }))) return false;
      return run(() => kfp.deleteExperiment(id), `${name} was deleted.`, 'The experiment could not be deleted');
    },
  };
}
