/** Where an object is, as users write it. The one parser is core's, as the contract's schemas need it too. */
export { isBucketName, parseObsLocation as parseLocation } from "../core/obs-location.ts";
