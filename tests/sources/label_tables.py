"""One table of labels in every form: 1 is the liver and 7 the spleen."""

FORMS = {
    "plain.json": '{"1": "Liver", "7": "Spleen"}',
    "background.json": '{"0": "background", "1": "Liver", "7": "Spleen"}',
    "reversed.json": '{"Liver": 1, "Spleen": "7"}',
    "list.json": '[{"value": 1, "name": "Liver"}, {"value": 7, "name": "Spleen", "source_names": ["Milz"]}]',
    "labels.json": '{"labels": [{"value": 0, "name": "background"}, {"value": 1, "name": "Liver"},'
    ' {"value": 7, "name": "Spleen"}]}',
    "decathlon.json": '{"name": "x", "labels": {"0": "background", "1": "Liver", "7": "Spleen"}}',
    "dataset.json": '{"labels": {"background": 0, "Liver": 1, "Spleen": 7}, "file_ending": ".nii.gz"}',
    "with_mark.json": '\ufeff{"1": "Liver", "7": "Spleen"}',
    "table.csv": "\ufeffvalue,name\n1,Liver\n7,Spleen\n",
    "columns.csv": 'name,value,note\nLiver,1,"a, b"\nSpleen,7,\n',
    "table.txt": "value,name\n1, Liver\n7,Spleen\n",
}
