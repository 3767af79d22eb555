import * as scenes from './any_unit.mjs';
import { perform } from './stage.mjs';

await perform(scenes);
