/**
 * The light engines of the guide's time, each from training to an answer, where their interpreter is on this machine. Those of
 * today are in classic.test.ts and examples.test.ts.
 */
import { testRoundTrips } from "../../support/round-trip.ts";
import { SKLEARN, XGBOOST } from "../../support/tiny-models.ts";

testRoundTrips([
  { engine: "Scikit_Learn", runtime: "python3.6", release: ["sklearn", "0.18.1"], ...SKLEARN },
  { engine: "XGBoost", runtime: "python3.6", release: ["xgboost", "0.80"], ...XGBOOST },
]);
