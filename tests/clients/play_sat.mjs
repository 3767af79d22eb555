import * as scenes from './sat.mjs';
import { perform } from './stage.mjs';

await perform(scenes);
