# coding:utf-8
import collections
import json

import model_service.log as log
import xgboost as xgb
from model_service.python_model_service import XgSklServingBaseService

logger = log.getLogger(__name__)


class UserService(XgSklServingBaseService):

    # The model is loaded once, when the instance starts, and not for every request.
    def __init__(self, model_path):
        super(UserService, self).__init__(model_path)
        self.xg_model = xgb.Booster(model_file=self.model_path)

    # request data preprocess
    def _preprocess(self, data):
        list_data = []
        json_data = json.loads(data, object_pairs_hook=collections.OrderedDict)
        for element in json_data["data"]["req_data"]:
            array = []
            for each in element:
                array.append(element[each])
            list_data.append(array)
        return list_data

    # predict
    def _inference(self, data):
        logger.info("predicting %d rows", len(data))
        pre_result = self.xg_model.predict(xgb.DMatrix(data))
        return pre_result.tolist()

    # predict result process
    def _postprocess(self, data):
        resp_data = []
        for element in data:
            resp_data.append({"predictresult": element})
        return resp_data
